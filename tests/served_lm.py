"""A server of a small causal LM, as a process of its own, that answers as vLLM does.

`python tests/served_lm.py FOLDER` writes its port to standard output and serves the model of
FOLDER, through transformers alone: `/v1/models`, `/tokenize`, and `/v1/completions` with
`prompt_logprobs`, or `echo` with `logprobs`. `POST /behave` says what is to go wrong.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen


@dataclass(frozen=True)
class ServedLm:
    """The server's `address`, with `/v1`."""

    address: str

    def behave(self, **how: Any) -> dict[str, Any]:
        """`fails`: so many completions are answered 503 first; `key`: what is asked for; `cuts`:
        whether it has `/tokenize` and `prompt_logprobs`. Returns what it counted since then.
        """
        url = self.address.removesuffix("/v1") + "/behave"
        with urlopen(Request(url, json.dumps(how).encode())) as answer:
            counted: dict[str, Any] = json.loads(answer.read())
        return counted


@contextmanager
def served_lm(folder: Path) -> Iterator[ServedLm]:
    """The model of a folder, served by a process of its own."""
    command = [sys.executable, __file__, str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as server:
        try:
            assert server.stdout is not None
            port = int(server.stdout.readline())
            yield ServedLm(f"http://127.0.0.1:{port}/v1")
        finally:
            server.kill()


def serve(folder: str) -> None:
    """Serves until it is killed."""
    import torch
    import transformers

    torch.set_num_threads(1)
    auto: Any = transformers.AutoModelForCausalLM
    tokens: Any = transformers.AutoTokenizer
    tokenizer, model = tokens.from_pretrained(folder), auto.from_pretrained(folder).eval()
    context = int(model.config.max_position_embeddings)
    state: dict[str, Any] = {}
    counted: dict[str, int] = {}
    lock = threading.Lock()

    def reset(how: dict[str, Any]) -> dict[str, int]:
        before = dict(counted)
        state.clear()
        state.update({"fails": 0, "key": "", "cuts": True, **how})
        counted.clear()
        counted.update(completions=0, at_once=0, now=0)
        return before

    reset({})

    def judged(ids: list[int]) -> list[dict[str, Any] | None]:
        with torch.inference_mode(), lock:
            told = model(torch.tensor([ids])).logits[0].float().log_softmax(-1)
        places: list[dict[str, Any] | None] = [None]
        for own, token in zip(told, ids[1:], strict=False):
            best = int(own.argmax())
            places.append(
                {
                    str(one): {
                        "logprob": float(own[one]),
                        "rank": int((own > own[one]).sum()) + 1,
                        "decoded_token": tokenizer.decode([one]),
                    }
                    for one in (token, best)
                }
            )
        return places

    def complete(asked: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        prompt = asked["prompt"]
        ids = tokenizer(prompt)["input_ids"] if isinstance(prompt, str) else prompt
        if len(ids) + asked["max_tokens"] > context + 1:
            message = f"This model's maximum context length is {context + 1} tokens."
            return 400, {"object": "error", "message": message, "code": 400}
        choice: dict[str, Any] = {"index": 0, "text": "!", "finish_reason": "length"}
        if state["cuts"] and "prompt_logprobs" in asked:
            choice["prompt_logprobs"] = judged(ids)
        if asked.get("echo"):
            ends = [end for _, end in tokenizer(prompt, return_offsets_mapping=True).offset_mapping]
            places = judged(ids)
            own = [place and place[str(i)]["logprob"] for place, i in zip(places, ids, strict=True)]
            choice["logprobs"] = {
                "token_logprobs": [*own, -1.5],
                "text_offset": [0, *ends],
                "tokens": [tokenizer.decode([i]) for i in ids] + ["!"],
                "top_logprobs": None,
            }
        usage = {"prompt_tokens": len(ids), "completion_tokens": 1}
        return 200, {"object": "text_completion", "choices": [choice], "usage": usage}

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *arguments: Any) -> None:
            """Nothing."""

        def answer(self, status: int, content: Any) -> None:
            body = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def refused(self) -> bool:
            said = self.headers.get("Authorization", "")
            if state["key"] and said != f"Bearer {state['key']}":
                self.answer(401, {"error": {"message": f"no such key: {said}"}})
                return True
            return False

        def do_GET(self) -> None:
            if self.refused():
                return
            card = {"id": "tiny", "object": "model", "root": folder, "max_model_len": context + 1}
            self.answer(200, {"object": "list", "data": [card]})

        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if self.path == "/behave":
                self.answer(200, reset(asked))
            elif self.refused():
                return
            elif self.path == "/tokenize" and state["cuts"]:
                ids = tokenizer(asked["prompt"])["input_ids"]
                self.answer(200, {"tokens": ids, "count": len(ids), "max_model_len": context + 1})
            elif self.path == "/v1/completions":
                self.complete(asked)
            else:
                self.answer(404, {"detail": "Not Found"})

        def complete(self, asked: dict[str, Any]) -> None:
            with lock:
                counted["completions"] += 1
                counted["now"] += 1
                counted["at_once"] = max(counted["at_once"], counted["now"])
                fails = state["fails"] > 0
                state["fails"] -= fails
            answer = (503, {"message": "busy"}) if fails else complete(asked)
            with lock:  # Before the answer, upon which the next one may come.
                counted["now"] -= 1
            self.answer(*answer)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    print(server.server_address[1], flush=True)  # noqa: T201
    server.serve_forever()


if __name__ == "__main__":
    serve(sys.argv[1])
