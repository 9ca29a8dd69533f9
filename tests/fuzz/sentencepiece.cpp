// A sentencepiece model, as a folder or the tensor of a text encoder has it, and a prompt through it.
#include "models/text/tokenizer/tokenizer.h"
#include "tests/fuzz/answer.h"
#include "tests/fuzz/targets.h"

namespace wan::fuzz {

void sentencepiece(std::string_view bytes) {
  answer([&] { text::Tokenizer::from(bytes, "model").encode("A red ball, \u00e9 \u4e00 1/2\n"); });
}

}  // namespace wan::fuzz
