"""What a GraphQL request asks for, understood before Dagster sees it."""

import json
from typing import Any

from graphql import GraphQLError, OperationDefinitionNode, OperationType, parse
from graphql.language import FieldNode

from dmp_assets.platform.api.problems import Problem

MOST_WORDS = 10_000
"""Tokens of a query: several times Dagster's own longest, and a fraction of a second's work."""
_KNOWN = ("query", "variables", "operationName")


def understood(body: bytes) -> tuple[bytes, list[str]]:
    """(the request in canonical form, names of its mutations and subscriptions).

    Raises Problem 400 for what is no GraphQL request: nothing passes that was not understood, and
    what passes is what was understood, not how it was sent.
    """
    try:
        asked: Any = json.loads(body)
        query = asked["query"]
        document = parse(query, no_location=True, max_tokens=MOST_WORDS)
    except (ValueError, KeyError, TypeError, GraphQLError, RecursionError) as error:
        raise Problem(
            400, "invalid", f"not a GraphQL request of at most {MOST_WORDS:,} words"
        ) from error
    changes = [
        chosen.name.value if isinstance(chosen, FieldNode) else "mutation"
        for definition in document.definitions
        if isinstance(definition, OperationDefinitionNode)
        and definition.operation is not OperationType.QUERY
        for chosen in definition.selection_set.selections
    ]
    passed = {name: asked[name] for name in _KNOWN if name in asked}
    if not isinstance(passed.get("variables"), dict | None):
        raise Problem(400, "invalid", "`variables` of a GraphQL request is an object")
    return json.dumps(passed).encode(), changes
