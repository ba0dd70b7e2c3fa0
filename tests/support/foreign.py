"""A page of somebody else that tries everything a page can to reach an address."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

_PAGE = """<!doctype html><title>foreign</title><script>
const target = TARGET, mutation = MUTATION, question = QUESTION;
const results = {};
const patient = (work) => Promise.race([
  work, new Promise((done) => setTimeout(() => done("nothing"), 4000))]);
const attempts = {
  image: () => new Promise((done) => {
    const image = new Image();
    image.onload = () => done("loaded"); image.onerror = () => done("error");
    image.src = target + "/graphql?query=" + encodeURIComponent(mutation);
  }),
  script: () => new Promise((done) => {
    const tag = document.createElement("script");
    tag.onload = () => done("loaded"); tag.onerror = () => done("error");
    tag.src = target + "/server_info"; document.head.append(tag);
  }),
  form: () => new Promise((done) => {
    const frame = document.createElement("iframe");
    frame.name = "sink"; document.body.append(frame);
    const form = document.createElement("form");
    form.method = "POST"; form.enctype = "text/plain"; form.target = "sink";
    form.action = target + "/graphql?query=" + encodeURIComponent(mutation);
    const field = document.createElement("input");
    field.name = JSON.stringify({query: mutation}).slice(0, -1) + ', "x": "';
    field.value = '"}'; form.append(field); document.body.append(form);
    form.submit(); setTimeout(() => done("sent"), 1500);
  }),
  beacon: () => new Promise((done) => {
    const body = JSON.stringify({query: mutation});
    navigator.sendBeacon(target + "/graphql", body);
    navigator.sendBeacon(target + "/graphql",
      new Blob([body], {type: "text/plain; x=application/json"}));
    setTimeout(() => done("sent"), 1500);
  }),
  blind: async () => {
    const answer = await fetch(target + "/graphql", {
      method: "POST", mode: "no-cors", credentials: "include",
      headers: {"Content-Type": "text/plain; x=application/json"},
      body: JSON.stringify({query: mutation})});
    return "status " + answer.status;
  },
  fetch: async () => {
    const answer = await fetch(target + "/graphql", {
      method: "POST", credentials: "include", headers: {"Content-Type": "application/json"},
      body: JSON.stringify({query: question})});
    return await answer.text();
  },
  get: async () => await (await fetch(
    target + "/graphql?query=" + encodeURIComponent(question), {credentials: "include"})).text(),
  socket: () => new Promise((done) => {
    const socket = new WebSocket(target.replace("http", "ws") + "/graphql", "graphql-ws");
    socket.onopen = () => socket.send(JSON.stringify({type: "connection_init"}));
    socket.onmessage = (event) => done("read " + event.data);
    socket.onclose = socket.onerror = () => done("closed");
  }),
  frame: () => new Promise((done) => {
    const frame = document.createElement("iframe");
    frame.src = target + "/runs"; frame.id = "framed";
    frame.onload = () => done("ended"); document.body.append(frame);
  }),
};
window.attack = async () => {
  for (const [name, attempt] of Object.entries(attempts)) {
    results[name] = await patient(attempt().catch((error) => "refused " + error.name));
  }
  return results;
};
</script><body></body>"""


@contextmanager
def foreign_page(target: str, mutation: str, question: str) -> Iterator[int]:
    """Port of loopback that serves the page; `window.attack()` there tries it all on `target`."""
    page = _PAGE
    for name, value in (("TARGET", target), ("MUTATION", mutation), ("QUESTION", question)):
        page = page.replace(f"= {name}", f"= {json.dumps(value)}", 1)
    body = page.encode()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join(timeout=10)
