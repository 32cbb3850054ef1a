"""Kinds of chat models: the only registry of them, and everything that the rest of the system asks about a kind."""

from __future__ import annotations

from types import MappingProxyType

from pydantic import BaseModel, ConfigDict, Field

DEFAULT_PICTURE_PX = 1024
"""Of a 4:3 photo some 1,000 tokens in models of the Qwen-VL family, whose card names 256 to 1,280 tokens as the usual
range (https://huggingface.co/Qwen/Qwen2.5-VL-7B-Instruct); servers of open models leave larger pictures as they are."""

DEFAULT_TIMEOUT_S = 120.0
A_DAY_S = 86_400.0

WRITTEN_PICTURE_PX = 1568
"""For whoever writes the reply: a person sees it all, and a hosted model behind a chat makes use of about as much."""


class ModelDescription(BaseModel):
    """A model, or a kind of models, and everything that the rest of the system asks about it."""

    model_config = ConfigDict(frozen=True)

    name: str = Field(description="its spec; capitals stand for what the user fills in")
    summary: str
    leaves_the_machine: str | None = Field(None, description="host that photos and questions go to; None: they stay")
    is_lmm: bool = Field(True, description="its replies are those of a language model, not of rules")
    is_recorded: bool = Field(False, description="replies come from a file; the model that gave them saw the photos")
    is_written: bool = Field(False, description="replies are written by whoever reads the requests")
    needs_terminal: bool = Field(False, description="requests are shown in a terminal, and replies pasted there")
    timeout_s: float = Field(DEFAULT_TIMEOUT_S, description="of a request, where the user chooses none")
    package: str = Field("", description="distribution with LangChain's integration; empty: no server is asked")
    extra: str = Field("", description="the extra of geosleuth that installs the package")
    keys: tuple[str, ...] = Field((), description="environment variables, of which one must hold a key")
    url: str = Field("", description="of the provider's server, or of the default one")
    takes_url: bool = Field(False, description="a spec may name another server")
    prices: str | None = Field(None, description="the provider's id in the package genai-prices")
    picture_px: int = Field(
        DEFAULT_PICTURE_PX, description="long side of pictures it is shown: of more it makes nothing, or only costs"
    )
    picture_detail: str | None = Field(None, description="`detail` of OpenAI's protocol; None: not sent")

    @property
    def is_served(self) -> bool:
        """Whether a server is asked; other models reply at once and for nothing, and have no temperature."""
        return bool(self.package)


_REGISTERED = (
    ModelDescription(
        name="offline", summary="rules over tool results; no LMM, does not look at the picture", is_lmm=False
    ),
    ModelDescription(
        name="recorded:FILE[@PHOTOS]",
        summary="answers of a real model, read from a JSONL file; PHOTOS is the folder its file names are in",
        is_recorded=True,
    ),
    ModelDescription(
        name="mailbox:[NAME@]FOLDER",
        summary="each request a folder with prompt, pictures and schema; waits for a reply.json in it",
        leaves_the_machine="whoever reads the folder",
        is_written=True,
        timeout_s=A_DAY_S,
        picture_px=WRITTEN_PICTURE_PX,
    ),
    ModelDescription(
        name="paste",
        summary="shows the prompt in the terminal, and waits for a chat service's reply to be pasted there",
        leaves_the_machine="whatever service you give them to",
        is_written=True,
        needs_terminal=True,
        timeout_s=A_DAY_S,
        picture_px=WRITTEN_PICTURE_PX,
    ),
    ModelDescription(
        name="openai:NAME",
        summary="OpenAI; OPENAI_API_KEY",
        leaves_the_machine="api.openai.com",
        package="langchain-openai",
        extra="openai",
        keys=("OPENAI_API_KEY",),
        url="https://api.openai.com/v1",
        prices="openai",
        # `high` scales to fit 2,048 px, and `auto` chooses by model: platform.openai.com/docs/guides/images-vision
        picture_px=2048,
        picture_detail="high",
    ),
    ModelDescription(
        name="anthropic:NAME",
        summary="Anthropic; ANTHROPIC_API_KEY",
        leaves_the_machine="api.anthropic.com",
        package="langchain-anthropic",
        extra="anthropic",
        keys=("ANTHROPIC_API_KEY",),
        url="https://api.anthropic.com",
        prices="anthropic",
        # Larger ones are scaled down before the model sees them: platform.claude.com/docs/en/build-with-claude/vision
        picture_px=1568,
    ),
    ModelDescription(
        name="google_genai:NAME",
        summary="Google Gemini; GOOGLE_API_KEY",
        leaves_the_machine="generativelanguage.googleapis.com",
        package="langchain-google-genai",
        extra="google",
        keys=("GOOGLE_API_KEY", "GEMINI_API_KEY"),
        url="https://generativelanguage.googleapis.com",
        prices="google",
        # Two by two tiles of 768 px, 258 tokens each: ai.google.dev/gemini-api/docs/image-understanding
        picture_px=1536,
    ),
    ModelDescription(
        name="ollama:NAME[@URL]",
        summary="Ollama, on this machine unless a URL is given",
        package="langchain-ollama",
        extra="ollama",
        url="http://127.0.0.1:11434",
        takes_url=True,
    ),
    ModelDescription(
        name="vllm:MODEL@URL",
        summary="a vLLM server",
        leaves_the_machine="the URL's host",
        package="langchain-openai",
        extra="openai",
        takes_url=True,
    ),
    ModelDescription(
        name="openai_compatible:MODEL@URL",
        summary="any server that speaks OpenAI's protocol",
        leaves_the_machine="the URL's host",
        package="langchain-openai",
        extra="openai",
        takes_url=True,
    ),
)
MODELS: MappingProxyType[str, ModelDescription] = MappingProxyType(
    {model.name.partition(":")[0]: model for model in _REGISTERED}
)
"""Kinds of models by the word before the colon: the only registry of them."""
