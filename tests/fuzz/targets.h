// Readers of files that come from anyone, each as a target for a fuzzer: a function of bytes that returns, whatever they are.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "tests/fuzz/mutate.h"

namespace wan::fuzz {

/// One reader.
struct Target {
  const char* name;
  /// Reads `bytes` as the product would. What a reader may answer, ModelError, BrokenJson or InvalidRequest, ends here; anything
  /// else that is thrown, a crash, a hang or memory without bound is a fault.
  void (*run)(std::string_view bytes);
  /// Where its seeds lie: "tests/formats/gguf/*.gguf", from the source folder. A part without a star is a file's name.
  std::vector<std::string> seeds;
  /// What all variants together may add to the peak of the process's memory.
  double megabytes = 200;
  /// Makes variants that the format allows, where damaged ones alone do not reach the reader; or null.
  Rearrange rearrange = nullptr;
};

/// One source of this folder for each.
void checksums(std::string_view bytes);
void gguf(std::string_view bytes);
void json(std::string_view bytes);
void lora(std::string_view bytes);
void model_sets(std::string_view bytes);
void modelopt(std::string_view bytes);
void pickle(std::string_view bytes);
void picture(std::string_view bytes);
void pth(std::string_view bytes);
void quantised(std::string_view bytes);
void safetensors(std::string_view bytes);
void sentencepiece(std::string_view bytes);
void shards(std::string_view bytes);
void tokenizer_json(std::string_view bytes);
void zip(std::string_view bytes);

/// All of them by name.
const std::vector<Target>& targets();
/// The target of this name; null where there is none.
const Target* find_target(std::string_view name);

/// The contents of a target's seeds, in the order of their names. Throws std::runtime_error where a pattern finds no file.
std::vector<std::string> seeds_of(const Target& target);

}  // namespace wan::fuzz
