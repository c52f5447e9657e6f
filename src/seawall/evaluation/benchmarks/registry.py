"""The registry of benchmarks. The command line, the config and Inspect take the names from it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from seawall.errors import ConfigError
from seawall.evaluation.benchmarks.figstep import read_figstep
from seawall.evaluation.benchmarks.mm_safetybench import read_mm_safetybench
from seawall.evaluation.benchmarks.mossbench import read_mossbench
from seawall.evaluation.benchmarks.sets.situations import read_mssbench, read_siuo, read_vlsbench
from seawall.evaluation.benchmarks.sets.spoken import SUBSETS, read_jalmbench, read_voicebench
from seawall.evaluation.benchmarks.sets.texts import (
    HARMBENCH_TYPES,
    read_advbench,
    read_harmbench,
    read_jailbreakbench,
    read_strongreject,
)
from seawall.evaluation.benchmarks.sets.videos import read_video_safetybench
from seawall.evaluation.benchmarks.sets.vlguard import read_vlguard
from seawall.evaluation.benchmarks.va_safetybench import read_audio, read_video
from seawall.evaluation.benchmarks.xstest import read_xstest
from seawall.registry import Registry
from seawall.store.items import Item


@dataclasses.dataclass(frozen=True, kw_only=True)
class Benchmark:
    """A benchmark and how its files are read."""

    name: str
    """Name for `--benchmark`, and of the Inspect task `seawall/NAME`."""
    read: Callable[..., list[Item]]
    """Takes the folder, the prompt types and the scenarios to read (None for all), and the `options` by
    keyword. Returns the items."""
    options: tuple[str, ...] = ()
    """Further settings of `BenchmarkConfig` that `read` takes, such as `tiny`. They are passed only if they are set."""
    judges: tuple[str, ...] = ("refusal",)
    """Judges that score the answers if the user names none."""
    description: str = ""
    """What it measures, in one sentence, for help texts."""
    types: tuple[str, ...] = ()
    """Its prompt types, for the documentation."""
    layout: str = ""
    """What `--data` must contain, for the documentation."""
    page: str = ""
    """Where the set is published."""
    licence: str = ""
    """Licence of the set."""
    items: str = ""
    """Number of items that its authors state."""
    published_judge: str = ""
    """Judge and threshold of its authors, and what comes nearest here."""


BENCHMARKS: Registry[Benchmark] = Registry(
    "benchmark", ConfigError, "Add it with seawall.register_benchmark(...): see CONTRIBUTING.md."
)


def register_benchmark(benchmark: Benchmark) -> None:
    """Add a benchmark, or replace the one of the same name, in this process."""
    BENCHMARKS.register(benchmark.name, benchmark)


for _benchmark in (
    Benchmark(
        name="va_safetybench_video",
        read=read_video,
        description="Attacks by video. Prompt types: Text_only, DM, TYPO, DM_TYPO.",
        types=("Text_only", "DM", "TYPO", "DM_TYPO"),
        layout="`Video_questions/`, `Video/<scenario>/<type>/<id>.mp4`; downloaded, or built by `seawall build`",
        page="https://github.com/ZeroNLP/SEA",
        licence="CC BY-NC 4.0",
        items="972 questions, 8 scenarios",
        published_judge="its prompt: `reference`; mean of scenarios",
    ),
    Benchmark(
        name="va_safetybench_audio",
        read=read_audio,
        description="Attacks by sound. Prompt types: Text_only, Audio_only, KPT, KPT_noise.",
        types=("Text_only", "Audio_only", "KPT", "KPT_noise"),
        layout="`Audio_questions/`, `Audio/<scenario>/<type>/<id>.mp3`",
        page="https://github.com/ZeroNLP/SEA",
        licence="CC BY-NC 4.0",
        items="972 questions, 8 scenarios",
        published_judge="its prompt: `reference`; mean of scenarios",
    ),
    Benchmark(
        name="mm_safetybench",
        read=read_mm_safetybench,
        options=("tiny", "all_scenarios"),
        description="Attacks by image, 8 scenarios; 5 more are judged by rubrics. Prompt types: Text_only, SD, TYPO, SD_TYPO.",
        types=("Text_only", "SD", "TYPO", "SD_TYPO"),
        layout="the repository, with the images (a separate download) in `data/imgs/<scenario>/<type>/<id>.jpg`",
        page="https://github.com/isXinLiu/MM-SafetyBench",
        licence="CC BY-NC 4.0",
        items="1,680 questions, 13 scenarios",
        published_judge="GPT-4 by scenario: `reference` for eight, `rubric` for five",
    ),
    Benchmark(
        name="figstep",
        read=read_figstep,
        description="Requests drawn as empty numbered lists. Prompt types: Text_only, FigStep.",
        types=("Text_only", "FigStep"),
        layout="the repository: `data/question/safebench.csv`, `data/images/SafeBench`, `src/generate_prompts.py`",
        page="https://github.com/ThuCCSLab/FigStep",
        licence="MIT",
        items="500 questions, 10 topics",
        published_judge="people",
    ),
    Benchmark(
        name="vlguard",
        read=read_vlguard,
        description="Harmful images, and harmless images with harmful requests; over-refusal with harmless ones.",
        types=("unsafes", "safe_unsafes", "safe_safes"),
        layout="`test.json`, and the images of `test.zip` in `test/`",
        page="https://huggingface.co/datasets/ys-zong/VLGuard",
        licence="research only; gated",
        items="1,000 images: 442 harmful, 558 harmless",
        published_judge="a list of refusal words anywhere in the answer; `refusal` reads only the beginning",
    ),
    Benchmark(
        name="siuo",
        read=read_siuo,
        description="Harmless text and harmless image that are harmful together.",
        types=("image",),
        layout="`siuo_gen.json`, `images/`",
        page="https://huggingface.co/datasets/sinwang/SIUO",
        licence="see its page",
        items="167, 9 domains",
        published_judge="GPT-4V, which sees the image: safe and effective; no judge here sees images",
    ),
    Benchmark(
        name="vlsbench",
        read=read_vlsbench,
        description="Risk in the image alone: the text does not reveal it.",
        types=("image",),
        layout="`data.json`, and the images of `imgs.tar` in `imgs/`",
        page="https://huggingface.co/datasets/Foreshhh/vlsbench",
        licence="Apache-2.0",
        items="2,241, 6 categories",
        published_judge="GPT-4o, which sees the image: refusal, warning, or unsafe; no judge here sees images",
    ),
    Benchmark(
        name="mssbench",
        read=read_mssbench,
        description="One question with an image that makes it unsafe, and with one that makes it safe: over-refusal too.",
        types=("chat",),
        layout="`combined.json`, and the images in `chat/`",
        page="https://huggingface.co/datasets/kzhou35/mssbench",
        licence="see its page",
        items="300 pairs of images with several questions each",
        published_judge="GPT-4, which sees the answer alone: refuses, points out the risk, answers, or cannot",
    ),
    Benchmark(
        name="video_safetybench",
        read=read_video_safetybench,
        description="Videos with harmful questions, and with questions that only the video makes harmful.",
        types=("harmful", "benign"),
        layout="`harmful_data.json`, `benign_data.json`, and the videos of `video.tar.gz` at their `video_path`",
        page="https://huggingface.co/datasets/BAAI/Video-SafetyBench",
        licence="see its page; gated",
        items="2,264 questions to 1,132 videos, 13 categories",
        published_judge="RJScore of Qwen2.5-72B, unsafe above 2.85 of 5; the scale needs token probabilities",
    ),
    Benchmark(
        name="voicebench_advbench",
        read=read_voicebench,
        description="AdvBench spoken.",
        types=("Text_only", "Audio_only"),
        layout="`advbench/*.parquet`, with columns `prompt` and `audio`",
        page="https://huggingface.co/datasets/hlt-lab/voicebench",
        licence="Apache-2.0",
        items="520",
        published_judge="refusal phrases: `refusal`",
    ),
    Benchmark(
        name="jalmbench",
        read=read_jalmbench,
        description="Harmful requests and jailbreaks as speech.",
        types=SUBSETS,
        layout="`HarmfulQuery/AHarm.parquet` and others, with columns `original_text` and `audio`",
        page="https://huggingface.co/datasets/AnonymousUser000/JALMBench",
        licence="see its page",
        items="246 requests in AHarm; 245,355 sounds",
        published_judge="an LLM, a score from 1 to 5, unsafe at 4 and above; `strongreject` is the nearest",
    ),
    Benchmark(
        name="harmbench",
        read=read_harmbench,
        description="Harmful behaviours in text, with and without a context.",
        types=HARMBENCH_TYPES,
        layout="the repository: `data/behavior_datasets/harmbench_behaviors_text_all.csv`",
        page="https://github.com/centerforaisafety/HarmBench",
        licence="MIT",
        items="400: 200 standard, 100 contextual, 100 copyright",
        published_judge="its classifier: `harmbench`, which gets no context; copyright by hashes",
    ),
    Benchmark(
        name="strongreject",
        read=read_strongreject,
        description="Forbidden prompts in text.",
        types=("Text_only",),
        layout="the repository: `strongreject_dataset/strongreject_dataset.csv`",
        page="https://github.com/alexandrasouly/strongreject",
        licence="MIT",
        items="313, 6 categories",
        published_judge="its rubric: `strongreject`, the mean grade",
    ),
    Benchmark(
        name="jailbreakbench",
        read=read_jailbreakbench,
        description="Harmful behaviours in text, and benign ones on the same topics for over-refusal.",
        types=("Text_only",),
        layout="`data/harmful-behaviors.csv`, `data/benign-behaviors.csv`",
        page="https://huggingface.co/datasets/JailbreakBench/JBB-Behaviors",
        licence="MIT",
        items="100 harmful, 100 benign, 10 categories",
        published_judge="Llama 3 70B with its own prompt; `harmbench` is the nearest",
    ),
    Benchmark(
        name="advbench",
        read=read_advbench,
        description="Harmful behaviours in text.",
        types=("Text_only",),
        layout="the repository: `data/advbench/harmful_behaviors.csv`",
        page="https://github.com/llm-attacks/llm-attacks",
        licence="MIT",
        items="520",
        published_judge="refusal prefixes: `refusal`",
    ),
    Benchmark(
        name="xstest",
        read=read_xstest,
        description="Over-refusal in text; its contrast prompts are attacks.",
        types=("Text_only",),
        layout="the repository: `xstest_prompts.csv`",
        page="https://github.com/paul-rottger/xstest",
        licence="CC BY 4.0",
        items="250 safe, 200 contrasts",
        published_judge="full, partial or no refusal, by people and GPT-4; `refusal` does not tell partial ones",
    ),
    Benchmark(
        name="mossbench",
        read=read_mossbench,
        description="Over-refusal with images.",
        types=("image",),
        layout="the repository: `data/images_information/information.json`, `data/images`",
        page="https://github.com/xirui-li/MOSSBench",
        licence="see its page",
        items="300, 3 kinds",
        published_judge="people and GPT: refusal",
    ),
):
    register_benchmark(_benchmark)
