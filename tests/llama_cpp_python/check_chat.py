"""The chat prompts that mobiedit makes are those of llama-cpp-python, whose renderer is Jinja2.

  check_chat.py CHAT_PROMPT TEMPLATES [MODEL...]

Each template of the folder gives the same text, and each model the same tokens, for a question, with a system prompt,
and after other turns. The variables are those that llama.cpp gives to templates. Exit status 1 where any of this is not
so, or where a template that many models have was not compared.
"""
import datetime
import os
import subprocess
import sys

from llama_cpp import Llama
from llama_cpp.llama_chat_format import Jinja2ChatFormatter

SYSTEM = {"role": "system", "content": "Answer in one word."}
QUESTION = {"role": "user", "content": "What is the capital of Perú?"}
ANSWER = {"role": "assistant", "content": "Lima."}
NEXT = {"role": "user", "content": "  And of <b>Chile</b>? \n"}
TALKS = [[QUESTION], [SYSTEM, QUESTION], [QUESTION, ANSWER, NEXT], [SYSTEM, QUESTION, ANSWER, NEXT]]

# Jinja2 fails with these: they need tools, where llama-cpp-python gives None.
NOT_WITHOUT_TOOLS = {
    "CohereForAI-c4ai-command-r-plus-tool_use", "NousResearch-Hermes-2-Pro-Llama-3-8B-tool_use",
    "NousResearch-Hermes-3-Llama-3.1-8B-tool_use", "fireworks-ai-llama-3-firefunction-v2"}
MUST = [
    "meta-llama-Llama-3.1-8B-Instruct", "meta-llama-Llama-3.3-70B-Instruct", "mistralai-Mistral-Nemo-Instruct-2407",
    "microsoft-Phi-3.5-mini-instruct", "google-gemma-2-2b-it", "Qwen-Qwen2.5-7B-Instruct", "Qwen-Qwen3-0.6B",
    "deepseek-ai-DeepSeek-V3.1", "CohereForAI-c4ai-command-r7b-12-2024-tool_use", "HuggingFaceTB-SmolLM3-3B",
    "openai-gpt-oss-120b", "ibm-granite-granite-4.0"]


def variables():
    now = datetime.datetime.now()
    return {"enable_thinking": True, "preserve_reasoning": True, "preserve_thinking": True, "clear_thinking": False,
            "truncate_history_thinking": False, "drop_thinking": False, "datetime": now.strftime("%b %d %Y"),
            "date_string": now.strftime("%d %b %Y")}


def merged(talk):
    """llama.cpp's rule for a template without a system role."""
    return [{"role": talk[1]["role"], "content": talk[0]["content"] + "\n" + talk[1]["content"]}] + talk[2:]


def their_text(template, bos, eos, talk):
    formatter = Jinja2ChatFormatter(template=template, bos_token=bos, eos_token=eos)
    try:
        return formatter(messages=talk, **variables()).prompt
    except ValueError:  # what raise_exception gives
        if talk[0]["role"] != "system":
            raise
        return formatter(messages=merged(talk), **variables()).prompt


def our_output(chat_prompt, *arguments, talk):
    messages = [text for message in talk for text in (message["role"], message["content"])]
    run = subprocess.run([chat_prompt, *arguments, *messages], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    return run.stdout.decode() if run.returncode == 0 else f"{run.stderr.decode()} (exit status {run.returncode})"


def check_template(chat_prompt, path):
    """The number of talks that differ."""
    with open(path, encoding="utf-8") as file:
        template = file.read()
    wrong = 0
    for talk in TALKS:
        theirs = their_text(template, "<s>", "</s>", talk)
        ours = our_output(chat_prompt, path, "<s>", "</s>", talk=talk)
        if ours != theirs:
            print(f"{os.path.basename(path)}, {len(talk)} messages:\n  ours   {ours!r}\n  theirs {theirs!r}")
            wrong += 1
    return wrong


def check_templates(chat_prompt, folder):
    wrong, names = 0, []
    for file in sorted(os.listdir(folder)):
        name = file.removesuffix(".jinja")
        if name == file or name in NOT_WITHOUT_TOOLS:
            continue
        names.append(name)
        wrong += check_template(chat_prompt, os.path.join(folder, file))
    missing = [name for name in MUST if name not in names]
    print(f"{len(names)} templates, {len(TALKS)} talks each: {wrong} differ; missing: {missing}")
    return wrong + len(missing)


def check_model(chat_prompt, path):
    llama = Llama(path, vocab_only=True, verbose=False)
    template = llama.metadata.get("tokenizer.chat_template")
    wrong = 0
    for talk in TALKS if template else []:
        bos, eos = (llama._model.token_get_text(token) if token >= 0 else ""
                    for token in (llama.token_bos(), llama.token_eos()))
        text = their_text(template, bos, eos, talk)
        # llama.cpp's rule: the tokenizer's BOS takes the place of the template's.
        if llama._model.add_bos_token() and bos:
            text = text.removeprefix(bos)
        theirs = llama.tokenize(text.encode(), add_bos=True, special=True)
        ours = our_output(chat_prompt, path, talk=talk).split()
        if ours != [str(token) for token in theirs]:
            print(f"{os.path.basename(path)}, {len(talk)} messages:\n  ours   {ours}\n  theirs {theirs}")
            wrong += 1
    print(f"{os.path.basename(path)}: {f'{wrong} talks differ' if template else 'no chat template'}")
    llama.close()
    return wrong


def main(chat_prompt, folder, *models):
    wrong = check_templates(chat_prompt, folder)
    wrong += sum(check_model(chat_prompt, model) for model in models)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
