"""A small server of the OpenAI and vLLM APIs for tests, a process of its own: it misbehaves as it is told.

    python api_server.py --port PORT [--model FOLDER] [--delay SECONDS] [--plain]

Without a model it answers with scripted tokens (10 + seed mod 7, 11, 2) and imports nothing but the standard library.
``POST /script`` sets what the next completions do: a list of objects, each used once (``"always": true``: ever again)
and only for prompts that start with its ``"first"`` token if it has one:
status, headers, text | stall (s) | drop ("before" | "middle") | raw (a body) | edit ({dotted path: value}) | drip (s)
| cut (events of a stream) | stall_after (events of a stream).
An empty list also puts adapters and weights back.
``GET /seen`` tells the requests so far and how many were under way at once. With ``--plain`` it is no vLLM.
"""

from __future__ import annotations

import argparse
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

VOCABULARY = 50
END = 2


class Scripted:
    """The same few tokens for every prompt; adapters and weights shift their log-probabilities."""

    stops = (END,)

    def __init__(self) -> None:
        self.adapters: dict[str, str] = {}
        self.weights = ""

    def load(self, name: str, path: str) -> None:
        self.adapters[name] = path

    def reload(self, path: str) -> None:
        self.weights = path

    def complete(self, body: dict[str, Any]) -> tuple[list[int], list[float], list[dict[int, float]], str]:
        tokens = [10 + (body.get("seed") or 0) % 7, 11, END]
        shift = 0.1 * (len(self.weights) % 5) + 0.25 * ("effect" in self.adapters.get(body["model"], ""))
        temperature = body["temperature"] or 1.0
        is_cut = body["top_p"] < 0.5
        scores = [-0.5 - shift, -1.5 - shift, -2.5 - shift]
        tops = [{t: 0.0 if is_cut and not i else s / temperature for i, (t, s) in enumerate(zip((7, 8, 9), scores))}]
        num = min(len(tokens), body["max_tokens"])
        reason = "stop" if num == len(tokens) else "length"
        return tokens[:num], [-0.5 - shift] * num, tops * num, reason

    def text(self, tokens: list[int]) -> str:
        return " ".join(str(token) for token in tokens if token not in self.stops)


class Modelled:
    """A real model, run by its plain forward over the whole sequence for every token."""

    def __init__(self, folder: str) -> None:
        import torch
        import transformers

        torch.set_num_threads(1)
        self.torch = torch
        self.model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
        self.tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
        self.stops = (self.tokenizer.eos_token_id,)
        self.adapters: dict[str, str] = {}

    def complete(self, body: dict[str, Any]) -> tuple[list[int], list[float], list[dict[int, float]], str]:
        torch = self.torch
        stops = set(body.get("stop_token_ids") or ()) | (set() if body.get("ignore_eos") else set(self.stops))
        generator = torch.Generator().manual_seed(body["seed"])
        tokens: list[int] = []
        logprobs, tops = [], []
        while len(tokens) < body["max_tokens"] and not (tokens and tokens[-1] in stops):
            with torch.no_grad():
                logits = self.model(torch.tensor([body["prompt"] + tokens])).logits[0, -1]
            found = (logits / (body["temperature"] or 1.0)).log_softmax(-1)
            if body["top_p"] < 1:
                ordered, places = found.exp().sort(descending=True)
                cut = places[ordered.cumsum(0) - ordered >= body["top_p"]]
                found = found.index_fill(0, cut, -torch.inf).log_softmax(-1)
            if body["temperature"] == 0:
                token = int(found.argmax())
            else:
                token = int(torch.multinomial(found.exp(), 1, generator=generator))
            tokens.append(token)
            logprobs.append(float(found[token]))
            best = found.topk(5)
            tops.append({int(t): max(float(v), -9999.0) for v, t in zip(*best)})
        return tokens, logprobs, tops, "stop" if tokens[-1] in stops else "length"

    def text(self, tokens: list[int]) -> str:
        return str(self.tokenizer.decode(tokens))


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    engine: Any
    is_plain = False
    version = "1"
    lock = threading.Lock()
    script: ClassVar[list[dict[str, Any]]] = []
    seen: ClassVar[list[dict[str, Any]]] = []
    under_way = 0
    most_under_way = 0

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def answer(self, found: object, status: int = 200, headers: dict[str, str] | None = None) -> None:
        content = found.encode() if isinstance(found, str) else json.dumps(found).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def do_GET(self) -> None:
        if self.path == "/version" and not self.is_plain:
            self.answer({"version": "0.32.0"})
        elif self.path == "/v1/models":
            cards = [{"id": "base", "max_model_len": 256}]
            cards += [{"id": name, "parent": "base", "root": path} for name, path in self.engine.adapters.items()]
            self.answer({"object": "list", "data": cards})
        elif self.path == "/weight_info" and not self.is_plain:
            self.answer({"weight_version": Handler.version})
        elif self.path == "/seen":
            self.answer({"requests": Handler.seen, "most_under_way": Handler.most_under_way})
        else:
            self.answer({"error": {"message": "no such path"}}, 404)

    def do_POST(self) -> None:
        content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        body = json.loads(content) if content else None
        path = self.path.partition("?")[0]
        if path == "/script":
            Handler.script, Handler.seen, Handler.most_under_way = body, [], 0
            if not body:
                Handler.version, self.engine.weights = "1", ""
                self.engine.adapters.clear()
            self.answer({})
        elif path in ("/v1/completions", "/v1/chat/completions"):
            with self.lock:
                Handler.seen.append({**body, "authorization": self.headers.get("Authorization")})
                Handler.under_way += 1
                Handler.most_under_way = max(Handler.under_way, Handler.most_under_way)
            try:
                self.complete(path, body)
            except (BrokenPipeError, ConnectionResetError):
                self.close_connection = True
            finally:
                with self.lock:
                    Handler.under_way -= 1
        else:
            self.administer(path, body)

    def administer(self, path: str, body: Any) -> None:
        if path == "/v1/load_lora_adapter":
            self.engine.load(body["lora_name"], body["lora_path"])
        elif path == "/v1/unload_lora_adapter":
            if self.engine.adapters.pop(body["lora_name"], None) is None:
                return self.answer({"error": {"message": "cannot be found"}}, 404)
        elif path == "/collective_rpc":
            if "ignored" not in body["kwargs"]["weights_path"]:
                self.engine.reload(body["kwargs"]["weights_path"])
        elif path == "/update_weight_version":
            Handler.version = body["new_version"]
        elif path not in ("/pause", "/resume", "/reset_prefix_cache"):
            return self.answer({"error": {"message": "no such path"}}, 404)
        return self.answer({})

    def fault(self, body: dict[str, Any]) -> dict[str, Any]:
        with self.lock:
            for fault in Handler.script:
                if "first" not in fault or fault["first"] == (body.get("prompt") or [None])[0]:
                    if not fault.get("always"):
                        Handler.script.remove(fault)
                    return fault
        return {}

    def complete(self, path: str, body: dict[str, Any]) -> None:
        fault = self.fault(body)
        if "stall" in fault:
            time.sleep(fault["stall"])
        if "status" in fault:
            return self.answer(
                fault.get("text", {"error": {"message": "as scripted"}}), fault["status"], fault.get("headers")
            )
        if fault.get("drop") == "before":
            self.close_connection = True
            return None
        if "raw" in fault:
            return self.answer(fault["raw"])
        found = self.chatted(body) if "chat" in path else self.completed(body)
        for place, value in fault.get("edit", {}).items():
            edit(found, place.split("."), value)
        if body.get("stream"):
            return self.stream(found, fault)
        content = json.dumps(found)
        if fault.get("drop") == "middle":
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content[: len(content) // 2].encode())
            self.close_connection = True
            return None
        if "drip" in fault:
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            for byte in content.encode():
                self.wfile.write(bytes([byte]))
                self.wfile.flush()
                time.sleep(fault["drip"])
            return None
        return self.answer(content)

    def completed(self, body: dict[str, Any]) -> dict[str, Any]:
        tokens, logprobs, tops, reason = self.engine.complete(body)
        choice: dict[str, Any] = {"index": 0, "text": self.engine.text(tokens), "finish_reason": reason}
        named = [f"token_id:{token}" for token in tokens]
        choice["logprobs"] = {
            "tokens": named,
            "token_logprobs": logprobs,
            "top_logprobs": [{f"token_id:{token}": value for token, value in top.items()} for top in tops],
        }
        if not self.is_plain:
            choice |= {"token_ids": tokens, "prompt_token_ids": body["prompt"]}
        usage = {"prompt_tokens": len(body["prompt"]), "completion_tokens": len(tokens)}
        return {"model": body["model"], "choices": [choice], "usage": usage}

    def chatted(self, body: dict[str, Any]) -> dict[str, Any]:
        message: dict[str, Any] = {"role": "assistant", "content": "echo: " + body["messages"][-1]["content"]}
        if body.get("tools"):
            function = {"name": body["tools"][0]["function"]["name"], "arguments": '{"quarter": "Q3"}'}
            message["tool_calls"] = [{"id": "c", "type": "function", "function": function}]
        reason = "tool_calls" if body.get("tools") else "stop"
        choice = {"index": 0, "message": message, "finish_reason": reason}
        return {"model": body["model"], "choices": [choice], "usage": {"completion_tokens": 4}}

    def stream(self, found: dict[str, Any], fault: dict[str, Any]) -> None:
        """One event a token, then [DONE]."""
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        choice = found["choices"][0]
        for i, token in enumerate(choice["token_ids"]):
            if fault.get("cut") == i:
                self.wfile.write(b"0\r\n\r\n")
                return
            if fault.get("stall_after") == i:
                time.sleep(fault["seconds"])
            is_last = i == len(choice["token_ids"]) - 1
            piece = {
                "index": 0,
                "text": self.engine.text([token]),
                "token_ids": [token],
                "logprobs": {"token_logprobs": [choice["logprobs"]["token_logprobs"][i]]},
                "prompt_token_ids": None if i else choice["prompt_token_ids"],
                "finish_reason": choice["finish_reason"] if is_last else None,
            }
            self.event(json.dumps({"model": found["model"], "choices": [piece]}))
        self.event("[DONE]")
        self.wfile.write(b"0\r\n\r\n")

    def event(self, data: str) -> None:
        content = f"data: {data}\n\n".encode()
        self.wfile.write(f"{len(content):x}\r\n".encode() + content + b"\r\n")
        self.wfile.flush()


def edit(found: Any, place: list[str], value: Any) -> None:
    """Replace what stands at the place; the value "DELETE" takes it away."""
    for key in place[:-1]:
        found = found[int(key)] if isinstance(found, list) else found[key]
    if value == "DELETE":
        del found[place[-1]]
    elif isinstance(found, list):
        found[int(place[-1])] = value
    else:
        found[place[-1]] = value


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--model")
    parser.add_argument("--delay", type=float, default=0.0)
    parser.add_argument("--plain", action="store_true")
    options = parser.parse_args()
    time.sleep(options.delay)
    Handler.engine = Modelled(options.model) if options.model else Scripted()
    Handler.is_plain = options.plain
    server = ThreadingHTTPServer(("127.0.0.1", options.port), Handler)
    print(server.server_address[1], flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
