"""The tokenizer of a text encoder that comes with a spiece.model alone."""


class SentencePieceTokenizer:
    """sentencepiece with T5's end token, called as a transformers tokenizer is: text -> {"input_ids": [...]}."""

    def __init__(self, path):
        from sentencepiece import SentencePieceProcessor  # here, because most text encoders come with a tokenizer.json

        self.pieces = SentencePieceProcessor(model_file=path)

    def __call__(self, text):
        return {"input_ids": self.pieces.encode(text) + [self.pieces.eos_id()]}

    def get_vocab(self):
        return {self.pieces.id_to_piece(i): i for i in range(self.pieces.get_piece_size())}

    def decode(self, token_ids, skip_special_tokens=True):
        special = (self.pieces.pad_id(), self.pieces.eos_id()) if skip_special_tokens else ()
        return self.pieces.decode([i for i in token_ids if i not in special])
