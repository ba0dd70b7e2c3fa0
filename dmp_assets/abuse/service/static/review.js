"use strict";
// Keys of the review, and news of a case that is open. Every page works without this file too.
(() => {
  const all = (selector) => [...document.querySelectorAll(selector)];
  const go = (path) => location.assign(path);

  function move(step) {
    const cases = all("a[data-case]");
    const now = cases.indexOf(document.activeElement);
    const next = now < 0 ? 0 : Math.min(Math.max(now + step, 0), cases.length - 1);
    cases[next]?.focus();
  }

  // On the page of a case: the first reason of that kind. In a list: open the case for it.
  function choose(verdict) {
    const reason = document.querySelector(`input[data-verdict=${verdict}]`);
    if (reason) {
      reason.focus();
      reason.checked = true;
    } else if (document.activeElement?.matches("a[data-case]")) {
      go(`${document.activeElement.href}#${verdict}`);
    }
  }

  function toggleScope() {
    const other = document.querySelector("input[name=scope]:not(:checked):not(:disabled)");
    if (other) other.checked = true;
  }

  function help() {
    const keys = document.getElementById("keys");
    keys.open = !keys.open;
    if (keys.open) keys.scrollIntoView({ block: "nearest" });
  }

  const actions = {
    j: () => move(1),
    k: () => move(-1),
    a: () => choose("allow"),
    b: () => choose("block"),
    c: toggleScope,
    u: () => document.querySelector("button[data-key=u]")?.click(),
    q: () => go("/review"),
    "/": () => document.getElementById("search").focus(),
    "?": help,
  };

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    const field = event.target.closest("input:not([type=radio]), textarea, select");
    if (event.key === "Escape") field?.blur();
    if (field || !Object.hasOwn(actions, event.key)) return;
    event.preventDefault();
    actions[event.key]();
  });

  if (location.hash === "#allow" || location.hash === "#block") choose(location.hash.slice(1));

  // Who else has the case open, and what was decided on it since the page was loaded.
  // Only as long as somebody is there: asking keeps the session alive.
  const THERE = 5 * 60_000;
  const watchers = document.getElementById("watchers");
  let shown = watchers?.innerHTML;
  let active = Date.now();
  for (const kind of ["keydown", "pointerdown", "pointermove", "scroll"]) {
    addEventListener(kind, () => { active = Date.now(); }, { passive: true });
  }

  async function look() {
    if (document.hidden || Date.now() - active > THERE) return;
    const asked = new URLSearchParams({ id: watchers.dataset.account, seen: watchers.dataset.seen });
    const answer = await fetch(`/review/watchers?${asked}`).catch(() => null);
    if (!answer?.ok) return;
    const text = await answer.text();
    if (text !== shown) watchers.innerHTML = shown = text;
  }
  if (watchers) setInterval(look, 5000);
})();
