// The date filter of a page: fields, presets, the address. What the days mean is the page's own.
//   dmpDays({ first: "2024-01-01", days: 90, start: "", end: "", draw: (from, to, isAll) => … })
// `first` is day 0 (UTC), `draw` gets numbers of days, both included; `start` and `end` preset it.
function dmpDays(page) {
  const DAY = 86400000;
  const byId = (id) => document.getElementById(id);
  const plural = (n, one) => `${n.toLocaleString("en-US")} ${one}${n === 1 ? "" : "s"}`;
  const first = Date.parse(page.first + "T00:00:00Z");
  const last = page.days - 1;
  const iso = (day) => new Date(first + day * DAY).toISOString().slice(0, 10);
  const dayOf = (text) => Math.round((Date.parse(text + "T00:00:00Z") - first) / DAY);
  const startInput = byId("filter-start"), endInput = byId("filter-end");
  const message = byId("filter-message");
  const buttons = [...document.querySelectorAll(".filter button")];
  for (const button of buttons) button.hidden = Number(button.dataset.days) >= page.days;

  function say(text, wrong) {
    message.textContent = text;
    message.classList.toggle("wrong", wrong.length > 0);
    for (const input of [startInput, endInput]) input.setAttribute("aria-invalid", String(wrong.includes(input)));
  }

  // Draws the days; `days` is what a button stands for, so that it stays pressed after a reload.
  function draw(from, to, days) {
    byId("filter-range").textContent = `Shown: ${iso(from)} to ${iso(to)} · ${plural(to - from + 1, "day")}, UTC`;
    for (const button of buttons) button.setAttribute("aria-pressed", String(button.dataset.days === String(days)));
    page.draw(from, to, from === 0 && to === last);
  }

  const startOf = (days) => (days ? Math.max(0, last - days + 1) : 0);
  const presetOf = (from, to) => {
    const found = buttons.find((b) => to === last && startOf(Number(b.dataset.days)) === from);
    return found ? found.dataset.days : "";
  };

  // The filter lies in the page's address, so that a reload, a bookmark and a copied link keep it.
  function remember(wanted) {
    const query = new URLSearchParams(location.search);
    for (const name of ["from", "to", "days"]) query.delete(name);
    for (const [name, value] of Object.entries(wanted)) query.set(name, value);
    try {
      history.replaceState(null, "", `${location.pathname}?${query}${location.hash}`);
    } catch (refused) { // a browser that does not let a file change its query
      if (refused.name !== "SecurityError") throw refused;
      location.replace(`#${query}`);
    }
  }
  function remembered() {
    for (const text of [location.search.slice(1), location.hash.slice(1)]) {
      const query = new URLSearchParams(text);
      if (query.has("from") || query.has("to") || query.has("days")) return query;
    }
    return null;
  }

  function preset(days) {
    const from = startOf(days);
    startInput.value = iso(from);
    endInput.value = iso(last);
    say("", []);
    draw(from, last, days);
  }

  // What the fields say is drawn, or it is said why not; a field keeps what was typed into it.
  function apply() {
    const wrong = [startInput, endInput].filter((input) => !whole(input));
    if (wrong.length) {
      say("Not a whole date: give day, month and year, as in " + iso(last) + ". The charts are left as they were.", wrong);
      return false;
    }
    const from = dayOf(startInput.value), to = dayOf(endInput.value);
    if (to < from) {
      say(`From (${startInput.value}) lies after to (${endInput.value}). The charts are left as they were.`, [startInput, endInput]);
      return false;
    }
    if (to < 0 || from > last) {
      say(`There is no data on these days: it runs from ${iso(0)} to ${iso(last)}. The charts are left as they were.`, [startInput, endInput]);
      return false;
    }
    const cut = [];
    if (from < 0) cut.push(`The data begins on ${iso(0)}.`);
    if (to > last) cut.push(`The data ends on ${iso(last)}.`);
    say(cut.join(" "), []);
    const begin = Math.max(0, from), end = Math.min(last, to);
    draw(begin, end, presetOf(begin, end));
    return true;
  }
  const whole = (input) => /^\d{4}-\d{2}-\d{2}$/.test(input.value) && !input.validity.badInput && !Number.isNaN(dayOf(input.value));

  // A date that is being typed is a date at each key (the year 2, 20, 202, 2023): it counts when the
  // field is left or Enter is pressed. One that is picked from the calendar counts at once.
  for (const input of [startInput, endInput]) {
    let typing = false, before = "";
    const take = () => {
      typing = false;
      const now = `${startInput.value} ${endInput.value} ${input.validity.badInput}`;
      if (now === before) return;
      before = now;
      if (apply()) remember({ from: startInput.value, to: endInput.value });
    };
    input.addEventListener("focus", () => { before = `${startInput.value} ${endInput.value} ${input.validity.badInput}`; });
    input.addEventListener("keydown", (event) => {
      if (event.key === "Enter") take();
      else if (event.key !== "Tab" && event.key !== "Shift") typing = true;
    });
    input.addEventListener("pointerdown", () => { typing = false; });
    input.addEventListener("change", () => { if (!typing) take(); });
    input.addEventListener("blur", take);
  }
  for (const button of buttons) {
    button.addEventListener("click", () => {
      const days = Number(button.dataset.days);
      preset(days);
      remember({ days });
    });
  }

  function restore() {
    const query = remembered();
    if (query && query.has("days") && buttons.some((b) => b.dataset.days === query.get("days"))) {
      preset(Number(query.get("days")));
      return;
    }
    startInput.value = (query && query.get("from")) || page.start || iso(0);
    endInput.value = (query && query.get("to")) || page.end || iso(last);
    if (!apply()) { // nothing has been drawn yet: all days, and why
      const why = message.textContent.replace("The charts are left as they were.", "All days are shown.");
      draw(0, last, 0);
      say(why, [startInput, endInput]);
    }
  }
  window.addEventListener("popstate", restore);
  restore();
}
