"""A multimodal model of your own: encoder, projector and causal LM, plain modules, put together as the stages expect.

See docs/new_modality.md. Not covered: several media in one turn, and media of different shapes in one batch.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from transformers import GenerationMixin, PretrainedConfig, PreTrainedModel
from transformers.modeling_outputs import CausalLMOutputWithPast

from seawall.errors import ModelError


def compose(
    *,
    model_type: str,
    encoder: nn.Module,
    projector: nn.Module,
    language_model: PreTrainedModel,
    tokenizer: Any,
    placeholder: str,
    blank: Any,
) -> tuple[PreTrainedModel, Any]:
    """Return model and processor.

    Args:
        model_type: Of the model's row in the table of families; its paths are `projector`, `language_model` and, for the
            layers of `M`, what lies below `encoder`.
        encoder: `M`: media, shape = (media, ...), to features, shape = (media, rows, width).
        projector: `P`: features to embeddings of the language model, shape = (media, tokens, hidden).
        language_model: A causal LM of transformers, with its head.
        tokenizer: Its tokenizer, with padding and end token and a chat template that writes `placeholder` for a medium.
        placeholder: A token of the tokenizer that stands for a medium.
        blank: The medium that shows nothing, as an array; it tells how many tokens a medium has.

    Raises:
        ModelError: The placeholder is no token of the tokenizer, or `P` does not end at the width of the language model.
    """
    number = tokenizer.convert_tokens_to_ids(placeholder)
    with torch.no_grad():
        tokens = projector(encoder(torch.as_tensor(blank)[None]))
    width = language_model.get_input_embeddings().embedding_dim
    if number in (None, tokenizer.unk_token_id) or tokens.dim() != 3 or tokens.shape[-1] != width:
        raise ModelError(
            f"The placeholder {placeholder!r} has id {number}, and the projector makes {tuple(tokens.shape)} of the blank. "
            f"Needed: a token of the tokenizer, and the shape (1, tokens, {width}) that the language model takes."
        )
    config = ComposedConfig(model_type=model_type, placeholder_id=number, text=language_model.config)
    model = ComposedForCausalLM(config, encoder, projector, language_model)
    return model, ComposedProcessor(tokenizer, placeholder, tokens.shape[1])


class ComposedConfig(PretrainedConfig):
    """What the parts do not know."""

    def __init__(self, model_type: str = "", placeholder_id: int = 0, text: Any = None, **rest: Any) -> None:
        super().__init__(**rest)
        self.model_type, self.placeholder_id, self.text_config = model_type, placeholder_id, text


class ComposedModel(PreTrainedModel):
    """Encoder, projector and headless language model."""

    config_class = ComposedConfig

    def __init__(self, config: ComposedConfig, encoder: nn.Module, projector: nn.Module, language_model: Any) -> None:
        super().__init__(config)
        self.encoder, self.projector, self.language_model = encoder, projector, language_model

    def forward(
        self, input_ids: Tensor, media: Tensor | None = None, inputs_embeds: Tensor | None = None, **inputs: Any
    ) -> Any:
        """Put what the projector makes of `media` in the places of the placeholders."""
        embeddings = self.language_model.get_input_embeddings()(input_ids) if inputs_embeds is None else inputs_embeds
        if media is not None:
            tokens = self.projector(self.encoder(media))
            places = (input_ids == self.config.placeholder_id)[..., None].expand_as(embeddings)
            embeddings = embeddings.masked_scatter(places, tokens.to(embeddings))
        return self.language_model(inputs_embeds=embeddings, **inputs)


class ComposedForCausalLM(PreTrainedModel, GenerationMixin):
    """`ComposedModel` with the head of its language model."""

    config_class = ComposedConfig
    base_model_prefix = "model"

    def __init__(self, config: ComposedConfig, encoder: nn.Module, projector: nn.Module, language_model: Any) -> None:
        super().__init__(config)
        self.model = ComposedModel(config, encoder, projector, language_model.base_model)
        self.lm_head = language_model.get_output_embeddings()
        self.generation_config = language_model.generation_config

    def get_input_embeddings(self) -> nn.Module:
        """Return those of the language model."""
        return self.model.language_model.get_input_embeddings()

    def get_output_embeddings(self) -> nn.Module:
        """Return the head."""
        return self.lm_head

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        media: Tensor | None = None,
        labels: Tensor | None = None,
        **kwargs: Any,
    ) -> CausalLMOutputWithPast:
        """Return logits and, where there are labels, the loss."""
        outputs = self.model(input_ids=input_ids, attention_mask=attention_mask, media=media, **kwargs)
        logits = self.lm_head(outputs.last_hidden_state)
        loss = None if labels is None else self.loss_function(logits, labels, logits.shape[-1])
        return CausalLMOutputWithPast(loss=loss, logits=logits, past_key_values=outputs.past_key_values)

    def prepare_inputs_for_generation(self, *args: Any, media: Tensor | None = None, **kwargs: Any) -> dict[str, Any]:
        """Pass the media on in the first step alone."""
        prepared = super().prepare_inputs_for_generation(*args, **kwargs)
        return prepared | ({"media": media} if kwargs.get("is_first_iteration") else {})


class ComposedProcessor:
    """Text and media to model inputs."""

    def __init__(self, tokenizer: Any, placeholder: str, tokens: int) -> None:
        self.tokenizer, self.placeholder, self.tokens = tokenizer, placeholder, tokens
        self.chat_template = tokenizer.chat_template

    def apply_chat_template(self, messages: list[dict], **settings: Any) -> str:
        """Return the tokenizer's."""
        return self.tokenizer.apply_chat_template(messages, **settings)

    def __call__(self, text: list[str], return_tensors: str = "pt", **media: Any) -> dict[str, Tensor]:
        """Return `input_ids`, `attention_mask` and `media`; the keyword of the media is the modality's `argument`."""
        lines = [line.replace(self.placeholder, self.placeholder * self.tokens) for line in text]
        inputs = self.tokenizer(lines, return_tensors=return_tensors, return_token_type_ids=False)
        (arrays,) = media.values()
        return {**inputs, "media": torch.stack([torch.as_tensor(array) for array in arrays])}
