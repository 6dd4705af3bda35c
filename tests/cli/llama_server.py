"""llama-server as the package xllamacpp has it: the same server, started from Python. Knows the options that
test_push_server.py and test_chat_server.py give.

  llama_server.py --model MODEL --host HOST --port PORT --ctx-size N --offline [--lora ADAPTER,...]
                  [--slot-save-path FOLDER] [--cache-ram MIB]
"""
import argparse
import signal

import xllamacpp


def adapter(path):
    info = xllamacpp.CommonAdapterLoraInfo()
    info.path, info.scale = path, 1.0
    return info


def main():
    parser = argparse.ArgumentParser()
    for name in ("--model", "--host"):
        parser.add_argument(name, required=True)
    for name in ("--lora", "--slot-save-path"):
        parser.add_argument(name, default="")
    parser.add_argument("--cache-ram", type=int)
    for name in ("--port", "--ctx-size"):
        parser.add_argument(name, type=int, required=True)
    parser.add_argument("--offline", action="store_true")
    options = parser.parse_args()

    params = xllamacpp.CommonParams()
    params.model.path = options.model
    params.lora_adapters = [adapter(path) for path in options.lora.split(",") if path]
    params.hostnames, params.port = [options.host], options.port
    params.n_ctx, params.offline = options.ctx_size, options.offline
    if options.slot_save_path:
        params.slot_save_path = options.slot_save_path + "/"
    if options.cache_ram is not None:
        params.cache_ram_mib = options.cache_ram
    server = xllamacpp.Server(params)
    print("listening at", server.listening_address, flush=True)
    signal.pause()


if __name__ == "__main__":
    main()
