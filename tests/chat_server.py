"""A real HTTP server with the chat completions API, which fails on demand."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from seawall.preparation.extract import NotExtractable
from seawall.preparation.rules import extract_by_rules


def answer_by_rules(instruction: str) -> str:
    """Return the reply of a model that extracts as well as the rules."""
    try:
        found = extract_by_rules(instruction)
    except NotExtractable:
        return "I cannot find one."
    fields = {"phrase": found.phrase, "category": found.category, "paraphrase": False, "detoxified": found.instruction}
    return json.dumps(fields)


class ChatServer(ThreadingHTTPServer):
    """Server that records its requests and answers. The faults of an instruction are used up in order."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, answer: Callable[[str], str] = answer_by_rules) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answer = answer
        self.faults: dict[str, list[str]] = {}
        """Instruction -> faults: "401", "429", "500", "timeout", "hang up", "cut body", "HTML" or "broken JSON"."""
        self.asked: list[dict[str, Any]] = []
        """Body of each request."""
        self.answered: Counter[str] = Counter()
        """Conversation -> number of answers."""
        self.gate: Callable[[], bool] = lambda: True
        """Returns whether the next request is answered. The others are held until `over` is set."""
        self.lock = threading.Lock()
        self.over = threading.Event()
        self.abandoned = 0
        """Number of requests that the server held for a minute, because the client did not close them at its time
        limit."""
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"

    def count_tokens(self, conversation: str) -> int:
        return 100

    def cached_tokens(self, asked: int) -> int:
        return 0

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore clients that disconnect: the tests kill some."""


class JudgeServer(ChatServer):
    """Server that counts words as tokens. The judge of Llama Guard checks by them that the whole answer has arrived."""

    def count_tokens(self, conversation: str) -> int:
        return len(conversation.split())


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: ChatServer

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        conversation = json.dumps(body["messages"])
        instruction = body["messages"][min(1, len(body["messages"]) - 1)]["content"].removeprefix("Request: ")
        with self.server.lock:
            self.server.asked.append(body)
            fault = self.server.faults.get(instruction, []).pop(0) if self.server.faults.get(instruction) else ""
        if fault in ("401", "429", "500"):
            return self.send(int(fault), {"error": {"message": f"fault {fault}", "code": fault, "type": "fault"}})
        if fault in ("timeout", "hang up"):
            if fault == "timeout":
                self.server.over.wait(60)
                self.server.abandoned += not self.server.over.is_set()
            self.close_connection = True
            return None
        if fault == "HTML":
            return self.send(200, "<!DOCTYPE html><html><body>502 Bad Gateway: it is safe to retry.</body></html>")
        if fault == "cut body":
            return self.send(200, '{"id": "x", "choices": [{"mess')
        with self.server.lock:
            passes = self.server.gate()
            self.server.answered[conversation] += passes
        if not passes:
            self.server.over.wait(60)
            return None
        text = '{"phrase": "cut sh' if fault == "broken JSON" else self.server.answer(instruction)
        message = {"role": "assistant", "content": text}
        choice = {"index": 0, "message": message, "finish_reason": "length" if text.endswith("...") else "stop"}
        asked = self.server.count_tokens(conversation)
        usage = {"prompt_tokens": asked, "completion_tokens": 20, "total_tokens": asked + 20}
        usage["prompt_tokens_details"] = {"cached_tokens": self.server.cached_tokens(asked)}
        body = {"id": "x", "object": "chat.completion", "created": 0, "model": "m", "choices": [choice], "usage": usage}
        return self.send(200, body)

    def send(self, status: int, body: dict[str, Any] | str) -> None:
        data = (body if isinstance(body, str) else json.dumps(body)).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        if status >= 400:
            self.send_header("x-should-retry", "false")  # so that Inspect retries, not the OpenAI client
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        pass
