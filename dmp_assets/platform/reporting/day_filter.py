"""The date filter of a report."""


def markup(*presets: tuple[int, str]) -> str:
    """The fields and buttons that `filter.js` brings to life; (days, words) of each button."""
    buttons = "".join(
        f'<button type="button" data-days="{days}">{words}</button>' for days, words in presets
    )
    described = 'aria-describedby="filter-message"'
    return (
        '<div class="filter" role="group" aria-label="Days shown">'
        f'<label>From <input type="date" id="filter-start" {described}></label>'
        f'<label>to <input type="date" id="filter-end" {described}></label>'
        f'<div class="presets">{buttons}</div>'
        '<span class="range" id="filter-range" aria-live="polite"></span>'
        '<p class="filter-message" id="filter-message" role="status"></p></div>'
    )
