"""An unmodified llama-cpp-python says with an adapter what `mobiedit ask` says.

  check_adapter.py MOBIEDIT MODEL ADAPTER PROMPT...

Its greedy text, with the model and the adapter loaded by its own defaults, is compared with the command's
for each prompt, with and without the adapter. The adapter must change the answer to the first prompt.
Exit status 1 where any of this is not so.
"""
import subprocess
import sys

from llama_cpp import Llama

TOKENS = 24


def ask(mobiedit, model, prompt, adapter):
    command = [mobiedit, "ask", model, prompt, "-n", str(TOKENS)]
    if adapter:
        command += ["--adapter", adapter]
    return subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout.decode().removesuffix("\n")


def llama_texts(model, prompts, adapter):
    llama = Llama(model, lora_path=adapter, verbose=False)
    texts = [llama(p, max_tokens=TOKENS, temperature=0)["choices"][0]["text"] for p in prompts]
    llama.close()
    return texts


def main(mobiedit, model, adapter, *prompts):
    wrong = 0
    first_answers = []
    for lora in (None, adapter):
        for prompt, theirs in zip(prompts, llama_texts(model, prompts, lora)):
            ours = ask(mobiedit, model, prompt, lora)
            if prompt == prompts[0]:
                first_answers.append(theirs)
            print(f"{'adapter' if lora else 'model':8} {prompt!r} -> {theirs!r}")
            if ours != theirs:
                print(f"         but mobiedit ask says {ours!r}")
                wrong += 1
    if first_answers[0] == first_answers[1]:
        print("the adapter changes nothing")
        wrong += 1
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
