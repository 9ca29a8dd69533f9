// Damaged variants of files, for programs without a fuzzer's engine.
#pragma once

#include <cstdint>
#include <random>
#include <string>
#include <vector>

namespace wan::fuzz {

/// Another file that a format allows, made from one.
using Rearrange = std::string (*)(const std::string& file, std::mt19937_64& random);

/// Draws variants of seeds; equal numbers give equal ones everywhere.
class Mutator {
 public:
  /// `rearrange`: makes half of the variants, of which one in four is damaged as well; or null.
  explicit Mutator(uint64_t number, Rearrange rearrange = nullptr) : rearrange_(rearrange), random_(number) {}
  /// One of the seeds after one to four changes: bits, bytes and numbers of two to eight bytes, pieces cut, doubled, moved or
  /// taken from another seed, the end cut off. Of 512 KiB at most. `seeds` must not be empty.
  std::string operator()(const std::vector<std::string>& seeds);

 private:
  size_t below(size_t bound) { return bound ? size_t(random_() % bound) : 0; }
  /// A place in the text; every second time in its first 256 bytes, where headers are.
  size_t place(const std::string& text);
  void change(std::string& text, const std::vector<std::string>& seeds);
  void put_number(std::string& text);

  Rearrange rearrange_;
  std::mt19937_64 random_;
};

}  // namespace wan::fuzz
