"""EasyEdit's interface (https://github.com/zjunlp/EasyEdit), on a GGUF model and with MobiEdit's method.

    from mobiedit.easyedit import BaseEditor, ROMEHyperParams      # was: from easyeditor import ...

    hparams = ROMEHyperParams.from_hparams("hparams/qwen.yaml")    # model_name: qwen.gguf
    editor = BaseEditor.from_hparams(hparams)
    metrics, edited_model, _ = editor.edit(prompts=[...], target_new=[...], subject=[...], ...)

Whichever method a script names, the edit is MobiEdit's. The metrics are EasyEdit's, and measured as there: a text is put
behind its prompt, and what counts is the share of its tokens that the model would say. Only a question is put in the model's
chat template if it has one, as MobiEdit teaches it; its accuracy is 1 if the answer has the text in it, else 0.
`use_chat_template` in the parameters puts all prompts there, or none.
"""
from __future__ import annotations

import copy
import logging
import re
import shutil
import tempfile
import time
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Self

from ._library import StrPath
from .asking import Chat
from .errors import NotEditedError
from .ledger import Ledger
from .model import Model
from .options import EditOptions

LOG = logging.getLogger(__name__)

Texts = str | Sequence[str]
Inputs = Mapping[str, Mapping[str, Any]]
"""Of locality and portability: a name, and under it "prompt" and "ground_truth", one of each for every request. Each is a
text or a list of texts; None or an empty text: that request has none."""
Request = dict[str, Any]
Metrics = dict[str, Any]

_IGNORED = {"keep_original_weight", "test_generation", "train_ds", "loc_prompts", "eval_metric"}
"""Arguments of EasyEdit's that mean something to other methods only."""


@dataclass
class HyperParams:
    """What is to be edited, and how. All but the model has a default."""

    model_name: str
    """The GGUF file."""
    alg_name: str = "MobiEdit"
    layer: int | None = None
    """Numbered from 0; None: MobiEdit chooses."""
    solver: str = "probe"
    place: str = "auto"
    seed: int = 0
    max_evaluations: int = 0
    threads: int = 0
    backend: str | None = None
    calibration: str | None = None
    use_chat_template: bool | None = None
    """Whether prompts are put in the model's chat template. None: questions, if it has one."""

    @classmethod
    def from_hparams(cls, file: StrPath) -> Self:
        """Reads a file of EasyEdit's, "key: value" in lines of YAML. What MobiEdit does not know is left out."""
        path = Path(file)
        if path.suffix != ".yaml":
            path = path.with_name(path.name + ".yaml")
        known = {field.name: field.type for field in fields(cls)}
        values = {}
        for line in path.read_text(encoding="utf-8").splitlines():
            name, _, text = line.partition(":")
            if name in known:
                values[name] = _value(name, text, str(known[name]))
        if not values.get("model_name"):
            raise ValueError(f"{path} names no model: model_name: FILE.gguf")
        values["alg_name"] = cls.alg_name
        return cls(**values)

    def edit_options(self) -> EditOptions:
        """For MobiEdit."""
        return {"layer": self.layer, "solver": self.solver, "place": self.place, "seed": self.seed,
                "max_evaluations": self.max_evaluations}


def _value(name: str, text: str, type_name: str) -> Any:
    """A scalar of YAML."""
    text = text.strip()
    quoted = re.match(r"""(["'])(.*?)\1\s*(#.*)?$""", text)
    text = quoted[2] if quoted else re.sub(r"(^|\s)#.*$", "", text).strip()
    if not quoted and text in ("", "~", "null"):
        if "None" in type_name:
            return None
        raise ValueError(f"{name} has no value")
    if type_name.startswith("int"):
        return int(text)
    if type_name.startswith("bool"):
        if text.lower() not in ("true", "false"):
            raise ValueError(f"{name} is neither true nor false: {text}")
        return text.lower() == "true"
    return text


# EasyEdit's names, which its scripts import by the dozen.
AlphaEditHyperParams = DPOHyperParams = EMMETHyperParams = FTApiHyperParams = FTHyperParams = GraceHyperParams = HyperParams
IKEHyperParams = KNHyperParams = LoRAHyperParams = MALMENHyperParams = MELOHyperParams = MEMITHyperParams = HyperParams
MENDHyperParams = PMETHyperParams = QLoRAHyperParams = R_ROMEHyperParams = ROMEHyperParams = SERACHparams = HyperParams
SPHEREHyperParams = UltraEditHyperParams = WISEHyperParams = HyperParams


class EditedModel:
    """A model with edits attached, as long as its editor lives."""

    def __init__(self, chat: Chat) -> None:
        self._chat = chat
        self._folder = Path(tempfile.mkdtemp(prefix="mobiedit-"))
        self._adapter: Path | None = None
        weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)

    def ask(self, prompt: str, *, chat: bool = False, max_tokens: int = 0) -> str:
        """As `Model.ask`, with the edits attached."""
        self._chat.attach(self._adapter)
        return self._chat.ask(prompt, chat=chat, max_tokens=max_tokens)

    def save(self, output: StrPath) -> None:
        """Writes the edits as an adapter, which llama.cpp loads beside the model."""
        if self._adapter is None:
            raise ValueError("no edit was made")
        shutil.copyfile(self._adapter, output)


class BaseEditor:
    """EasyEdit's editor. The model's own ledger is not touched."""

    @classmethod
    def from_hparams(cls, hparams: HyperParams) -> Self:
        return cls(hparams)

    def __init__(self, hparams: HyperParams) -> None:
        self.hparams = hparams
        self.model = Model(hparams.model_name, threads=hparams.threads, backend=hparams.backend,
                           calibration=hparams.calibration)
        self._has_template = self.model.inspect().has_chat_template
        self._chat = self.model.chat()

    def edit(self, prompts: Texts, target_new: Texts, ground_truth: Texts | None = None,
             rephrase_prompts: Texts | None = None, locality_inputs: Inputs | None = None,
             portability_inputs: Inputs | None = None, sequential_edit: bool = False, verbose: bool = True, *,
             subject: Texts, **unused: Any) -> tuple[list[Metrics], EditedModel, dict[str, Any]]:
        """Edits and measures. Each request is edited by itself; with `sequential_edit` all are, and then measured together.

        Returns a dictionary of metrics for each request; the edited model, which without `sequential_edit` has the last
        request's edit; and, in the place of original weights, which nothing has changed, an empty dictionary. A request
        whose edit is not made is logged, and measured as it is.
        """
        unknown = unused.keys() - _IGNORED
        if unknown:
            raise TypeError(f"unknown arguments: {', '.join(sorted(unknown))}")
        requests = _requests(_listed(prompts), _listed(target_new), ground_truth, rephrase_prompts, locality_inputs,
                             portability_inputs, _listed(subject))
        edited = EditedModel(self._chat)
        self._chat.attach(None)
        metrics = [{"pre": self._quality(request)} for request in requests]
        run = self._edit_together if sequential_edit else self._edit_each
        edited._adapter = run(requests, metrics, edited._folder)
        for i, measured in enumerate(metrics):
            _compare_localities(measured)
            if verbose:
                LOG.info("%d editing: %s -> %s\n%s", i, requests[i]["prompt"], requests[i]["target_new"], measured)
        LOG.info("Metrics Summary: %s", summary_metrics(metrics))
        return metrics, edited, {}

    def _edit_each(self, requests: list[Request], metrics: list[Metrics], folder: Path) -> Path | None:
        adapter = None
        for i, request in enumerate(requests):
            output = folder / f"{i}.gguf"
            seconds = self._edit_one(request, None, output)
            adapter = output if output.exists() else None
            self._chat.attach(adapter)
            self._measure(i, request, metrics[i], seconds)
        return adapter

    def _edit_together(self, requests: list[Request], metrics: list[Metrics], folder: Path) -> Path:
        adapter = folder / "all.gguf"
        with self.model.open_ledger(folder / "ledger.db") as ledger:
            seconds = [self._edit_one(request, ledger, None) for request in requests]
            ledger.export(adapter)
        self._chat.attach(adapter)
        for i, request in enumerate(requests):
            self._measure(i, request, metrics[i], seconds[i])
        return adapter

    def _edit_one(self, request: Request, ledger: Ledger | None, output: Path | None) -> float:
        """Seconds that it took."""
        start = time.monotonic()
        prompt = request["prompt"].replace(request["subject"], "{" + request["subject"] + "}", 1)
        options = self.hparams.edit_options()
        try:
            if ledger:
                ledger.edit(prompt, request["target_new"], **options)
            else:
                self.model.edit(prompt, request["target_new"], record=False, output=output, **options)
        except NotEditedError as error:
            LOG.warning("%s -> %s: not edited: %s", prompt, request["target_new"], error)
        return time.monotonic() - start

    # ---- metrics ----

    def _measure(self, i: int, request: Request, metrics: Metrics, seconds: float) -> None:
        metrics.update({"case_id": i, "requested_rewrite": request, "time": seconds, "post": self._quality(request)})

    def _quality(self, request: Request) -> Metrics:
        quality: Metrics = {"rewrite_acc": self._accuracies(request["prompt"], request["target_new"]),
                            "locality": {}, "portability": {}}
        if "rephrase_prompt" in request:
            quality["rephrase_acc"] = self._accuracies(request["rephrase_prompt"], request["target_new"])
        for name, asked in request["locality"].items():
            quality["locality"][f"{name}_output"] = [
                self._chat.score(prompt, text, chat=self._in_chat(prompt)).likeliest
                for prompt, text in _pairs(asked["prompt"], asked["ground_truth"])]
        for name, asked in request["portability"].items():
            quality["portability"][f"{name}_acc"] = self._accuracies(asked["prompt"], asked["ground_truth"])
        return quality

    def _accuracies(self, prompts: Texts, texts: Texts) -> list[float]:
        return [self._accuracy(prompt, text) for prompt, text in _pairs(prompts, texts)]

    def _accuracy(self, prompt: str, text: str) -> float:
        if not self._in_chat(prompt):
            return self._chat.score(prompt, text).accuracy
        answer = self._chat.ask(prompt, chat=True)
        return float(re.search(rf"(?<!\w){re.escape(text.strip())}(?!\w)", answer) is not None)

    def _in_chat(self, prompt: str) -> bool:
        if self.hparams.use_chat_template is None:
            return self._has_template and prompt.rstrip().endswith("?")
        return self.hparams.use_chat_template


def _listed(texts: Texts) -> list[str]:
    return [texts] if isinstance(texts, str) else list(texts)


def _pairs(prompts: Texts, texts: Texts) -> list[tuple[str, str]]:
    """Each prompt with its text, which may be one for all."""
    prompts = _listed(prompts)
    return list(zip(prompts, [texts] * len(prompts) if isinstance(texts, str) else texts, strict=True))


def _requests(prompts: list[str], targets: list[str], ground_truth: Texts | None, rephrases: Texts | None,
              locality: Inputs | None, portability: Inputs | None, subjects: list[str]) -> list[Request]:
    """The requests as EasyEdit has them. ValueError: there are not as many of one thing as of another."""
    truths = ["<|endoftext|>"] * len(prompts) if ground_truth is None else _listed(ground_truth)
    rows = zip(prompts, targets, truths, subjects, strict=True)
    requests: list[Request] = [{"prompt": prompt, "target_new": target, "ground_truth": truth, "portability": {},
                                "locality": {}, "subject": subject} for prompt, target, truth, subject in rows]
    for request in requests:
        if not request["subject"] or request["subject"] not in request["prompt"]:
            raise ValueError(f"the subject {request['subject']!r} is not in the prompt {request['prompt']!r}")
    if rephrases is not None:
        for request, rephrase in zip(requests, _listed(rephrases), strict=True):
            request["rephrase_prompt"] = rephrase
    for key, inputs in (("locality", locality), ("portability", portability)):
        for name, asked in (inputs or {}).items():
            pairs = zip(requests, _listed(asked["prompt"]), _listed(asked["ground_truth"]), strict=True)
            for request, prompt, truth in pairs:
                if prompt:
                    request[key][name] = {"prompt": copy.copy(prompt), "ground_truth": copy.copy(truth)}
    return requests


def _compare_localities(metrics: Metrics) -> None:
    """In the place of what was said before and after comes the share of tokens that stayed."""
    before, after = metrics["pre"].pop("locality"), metrics["post"]["locality"]
    for output in list(after):
        pairs = zip(before[output], after.pop(output), strict=True)
        after[output.removesuffix("_output") + "_acc"] = [
            sum(map(int.__eq__, was, now)) / len(was) for was, now in pairs]


def summary_metrics(metrics: Sequence[Metrics]) -> Metrics:
    """The means over all requests, before ("pre") and after ("post")."""
    return {when: _means([measured[when] for measured in metrics]) for when in ("pre", "post")}


def _means(values: list[Any]) -> Any:
    """Of each key, the mean over the dictionaries that have it."""
    if all(isinstance(value, dict) for value in values):
        names = dict.fromkeys(name for value in values for name in value)
        return {name: _means([value[name] for value in values if name in value]) for name in names}
    means = [sum(value) / len(value) for value in values]
    return sum(means) / len(means)
