"""What Slack would say against the blocks of a message (docs.slack.dev/reference/block-kit)."""

from collections.abc import Callable, Iterator
from typing import Any


def block_errors(
    blocks: Any, image_problem: Callable[[dict[str, Any]], str | None]
) -> Iterator[str]:
    """What Slack would say against these blocks, with JSON pointers as Slack gives them.

    Knows header, section, context, divider, image and actions blocks; others are refused.
    """
    if not isinstance(blocks, list):
        yield "must be an array [json-pointer:/blocks]"
        return
    if len(blocks) > 50:
        yield "no more than 50 items allowed [json-pointer:/blocks]"
    ids = [b["block_id"] for b in blocks if isinstance(b, dict) and "block_id" in b]
    if len(ids) != len(set(ids)):
        yield "block_id must be unique [json-pointer:/blocks]"
    for i, block in enumerate(blocks):
        at = f"/blocks/{i}"
        if not isinstance(block, dict):
            yield f"must be an object [json-pointer:{at}]"
            continue
        if len(str(block.get("block_id", ""))) > 255:
            yield f"must be less than 256 characters [json-pointer:{at}/block_id]"
        check = _BLOCKS.get(block.get("type", ""))
        if check is None:
            yield f"unsupported type: {block.get('type')} [json-pointer:{at}/type]"
        else:
            allowed, errors = check
            for name in block.keys() - allowed - {"type", "block_id"}:
                yield f"no more properties allowed: {name} [json-pointer:{at}]"
            yield from errors(block, at)
        if block.get("type") == "image" and isinstance(block.get("slack_file"), dict):
            problem = image_problem(block["slack_file"])
            if problem:
                yield f"{problem} [json-pointer:{at}/slack_file]"


def _text_errors(
    value: Any, at: str, limit: int, kinds: tuple[str, ...] = ("plain_text", "mrkdwn")
) -> Iterator[str]:
    if not isinstance(value, dict) or value.get("type") not in kinds:
        yield f"must be a text object of type {' or '.join(kinds)} [json-pointer:{at}]"
    elif not isinstance(value.get("text"), str) or not value["text"]:
        yield f"must be more than 0 characters [json-pointer:{at}/text]"
    elif len(value["text"]) > limit:
        yield f"must be less than {limit + 1} characters [json-pointer:{at}/text]"


def _header(block: dict[str, Any], at: str) -> Iterator[str]:
    yield from _text_errors(block.get("text"), f"{at}/text", 150, ("plain_text",))


def _section(block: dict[str, Any], at: str) -> Iterator[str]:
    if "text" not in block and "fields" not in block:
        yield f"missing required field: text or fields [json-pointer:{at}]"
    if "text" in block:
        yield from _text_errors(block["text"], f"{at}/text", 3_000)
    if "fields" in block:
        fields = block["fields"]
        if not isinstance(fields, list) or not 1 <= len(fields) <= 10:
            yield f"must have 1 to 10 items [json-pointer:{at}/fields]"
        else:
            for i, field in enumerate(fields):
                yield from _text_errors(field, f"{at}/fields/{i}", 2_000)


def _context(block: dict[str, Any], at: str) -> Iterator[str]:
    elements = block.get("elements")
    if not isinstance(elements, list) or not 1 <= len(elements) <= 10:
        yield f"must have 1 to 10 items [json-pointer:{at}/elements]"
        return
    for i, element in enumerate(elements):
        yield from _text_errors(element, f"{at}/elements/{i}", 3_000)


def _image(block: dict[str, Any], at: str) -> Iterator[str]:
    if not isinstance(block.get("alt_text"), str) or not 1 <= len(block["alt_text"]) <= 2_000:
        yield f"must be 1 to 2000 characters [json-pointer:{at}/alt_text]"
    if ("image_url" in block) == ("slack_file" in block):
        yield f"exactly one of image_url and slack_file is required [json-pointer:{at}]"
    if len(str(block.get("image_url", ""))) > 3_000:
        yield f"must be less than 3001 characters [json-pointer:{at}/image_url]"
    if "title" in block:
        yield from _text_errors(block["title"], f"{at}/title", 2_000, ("plain_text",))
    if "slack_file" in block and (
        not isinstance(block["slack_file"], dict)
        or ("id" in block["slack_file"]) == ("url" in block["slack_file"])
    ):
        yield f"exactly one of id and url is required [json-pointer:{at}/slack_file]"


def _actions(block: dict[str, Any], at: str) -> Iterator[str]:
    elements = block.get("elements")
    if not isinstance(elements, list) or not 1 <= len(elements) <= 25:
        yield f"must have 1 to 25 items [json-pointer:{at}/elements]"
        return
    for i, element in enumerate(elements):
        if not isinstance(element, dict) or element.get("type") != "button":
            yield f"unsupported type [json-pointer:{at}/elements/{i}]"
            continue
        yield from _text_errors(element.get("text"), f"{at}/elements/{i}/text", 75, ("plain_text",))
        if len(str(element.get("url", ""))) > 3_000:
            yield f"must be less than 3001 characters [json-pointer:{at}/elements/{i}/url]"


def _divider(block: dict[str, Any], at: str) -> Iterator[str]:
    return iter(())


_BLOCKS: dict[str, tuple[frozenset[str], Callable[[dict[str, Any], str], Iterator[str]]]] = {
    "header": (frozenset({"text"}), _header),
    "section": (frozenset({"text", "fields", "accessory", "expand"}), _section),
    "context": (frozenset({"elements"}), _context),
    "divider": (frozenset(), _divider),
    "image": (frozenset({"alt_text", "image_url", "slack_file", "title"}), _image),
    "actions": (frozenset({"elements"}), _actions),
}
