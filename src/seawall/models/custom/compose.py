"""Composition of a multimodal model from an encoder, a projector and a causal language model.

See docs/how_to/new_modality.md. Several media in one prompt and media of different shapes in one batch are not supported.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import GenerationMixin, PretrainedConfig, PreTrainedModel
from transformers.modeling_outputs import CausalLMOutputWithPast

from seawall.errors import DataError, ModelError
from seawall.media.modality import MODALITIES, find_modality


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
    """Return a multimodal model and its processor.

    Args:
        model_type: Model type of its row in the table of families. The row's paths are `projector`, `language_model`, and a path
            below `encoder` for the encoder layers.
        encoder: Maps media, shape = (media, ...), to features, shape = (media, rows, width).
        projector: Maps features to embeddings of the language model, shape = (media, tokens, hidden).
        language_model: A causal language model of transformers, with its head.
        tokenizer: Its tokenizer, with a padding token, an end token, and a chat template that writes `placeholder` for a medium.
        placeholder: A token of the tokenizer that stands for a medium.
        blank: The blank medium as an array. It determines the number of tokens of a medium. Shorter sounds are padded with silence
            to its length; set `max_seconds` of the row to this length, so that longer ones are refused.

    Raises:
        ModelError: The placeholder is not a token of the tokenizer, or the projector's output does not fit the language model.
    """
    placeholder_id = tokenizer.convert_tokens_to_ids(placeholder)
    with torch.no_grad():
        tokens = projector(encoder(torch.as_tensor(blank)[None]))
    width = language_model.get_input_embeddings().embedding_dim
    if placeholder_id in (None, tokenizer.unk_token_id) or tokens.dim() != 3 or tokens.shape[-1] != width:
        raise ModelError(
            f"The placeholder {placeholder!r} has id {placeholder_id}, and the projector returns the shape {tuple(tokens.shape)} "
            f"for the blank. The placeholder must be a token of the tokenizer, and the shape must be (1, tokens, {width})."
        )
    config = ComposedConfig(model_type=model_type, placeholder_id=placeholder_id, text=language_model.config)
    model = ComposedForCausalLM(config, encoder, projector, language_model)
    return model, ComposedProcessor(tokenizer, placeholder, tokens.shape[1], np.shape(blank))


class ComposedConfig(PretrainedConfig):
    """Configuration of a composed model, with that of its language model in `text_config`."""

    def __init__(self, model_type: str = "", placeholder_id: int = 0, text: Any = None, **rest: Any) -> None:
        super().__init__(**rest)
        self.model_type = model_type  # type: ignore[misc]  # each composed model has a type of its own
        self.placeholder_id, self.text_config = placeholder_id, text


class ComposedModel(PreTrainedModel):
    """Encoder, projector, and language model without its head."""

    config_class = ComposedConfig

    def __init__(self, config: ComposedConfig, encoder: nn.Module, projector: nn.Module, language_model: Any) -> None:
        super().__init__(config)
        self.encoder, self.projector, self.language_model = encoder, projector, language_model

    def forward(
        self, input_ids: Tensor, media: Tensor | None = None, inputs_embeds: Tensor | None = None, **inputs: Any
    ) -> Any:
        """Run the language model, with the projected `media` in place of the placeholder tokens."""
        embeddings = self.language_model.get_input_embeddings()(input_ids) if inputs_embeds is None else inputs_embeds
        if media is not None:
            tokens = self.projector(self.encoder(media))
            is_placeholder = input_ids == self.config.placeholder_id
            if (found := tokens.shape[0] * tokens.shape[1]) != (wanted := int(is_placeholder.sum())):
                raise DataError(
                    f"The media give {found} tokens, and the prompts have {wanted} placeholders, as many as the blank gives. Give "
                    "media of the shape of the blank, or change the model's blank."
                )
            embeddings = embeddings.masked_scatter(
                is_placeholder[..., None].expand_as(embeddings), tokens.to(embeddings)
            )
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
        """Return the input embeddings of the language model."""
        return self.model.language_model.get_input_embeddings()

    def get_output_embeddings(self) -> nn.Module:
        """Return the head of the language model."""
        return self.lm_head

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        media: Tensor | None = None,
        labels: Tensor | None = None,
        **kwargs: Any,
    ) -> CausalLMOutputWithPast:
        """Return the logits and, if labels are given, the loss."""
        outputs = self.model(input_ids=input_ids, attention_mask=attention_mask, media=media, **kwargs)
        logits = self.lm_head(outputs.last_hidden_state)
        loss = None if labels is None else self.loss_function(logits, labels, logits.shape[-1])
        return CausalLMOutputWithPast(loss=loss, logits=logits, past_key_values=outputs.past_key_values)

    def prepare_inputs_for_generation(self, *args: Any, media: Tensor | None = None, **kwargs: Any) -> dict[str, Any]:
        """Return the inputs of one step. Only the first step gets the media."""
        prepared: dict[str, Any] = super().prepare_inputs_for_generation(*args, **kwargs)  # type: ignore[misc]
        return prepared | ({"media": media} if kwargs.get("is_first_iteration") else {})


class ComposedProcessor:
    """Converts text and media into model inputs.

    Args:
        tokenizer: Tokenizer of the language model.
        placeholder: Token that stands for a medium.
        tokens: Number of tokens of a medium.
        shape: Shape of the blank.
    """

    def __init__(self, tokenizer: Any, placeholder: str, tokens: int, shape: tuple[int, ...]) -> None:
        self.tokenizer, self.placeholder, self.tokens, self.shape = tokenizer, placeholder, tokens, shape
        self.chat_template = tokenizer.chat_template

    def apply_chat_template(self, messages: list[dict[str, Any]], **settings: Any) -> str:
        """Return messages as one text; see the tokenizer's method."""
        return self.tokenizer.apply_chat_template(messages, **settings)

    def __call__(self, text: list[str], return_tensors: str = "pt", **media: Any) -> dict[str, Tensor]:
        """Return `input_ids`, `attention_mask` and `media`.

        The `argument` of a modality is the keyword of the media. Its other settings, such as the sampling rate, are not used: files
        are read in the form that the encoder takes.
        """
        lines = [line.replace(self.placeholder, self.placeholder * self.tokens) for line in text]
        inputs = self.tokenizer(lines, return_tensors=return_tensors, return_token_type_ids=False)
        arguments = {find_modality(name).argument for name in MODALITIES.names()}
        (listed,) = (value for name, value in media.items() if name in arguments)
        arrays = [np.asarray(array) for array in listed]
        if len(self.shape) == 1:  # sounds; of signals with channels it is not known along which axis to pad
            arrays = [np.pad(array, (0, max(0, self.shape[0] - len(array)))) for array in arrays]
        return {**inputs, "media": torch.stack([torch.as_tensor(array) for array in arrays])}
