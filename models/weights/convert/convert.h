// Writes a checkpoint in another form: `wan-infer convert`. One tensor after another, so that memory does not grow with
// the file, and resumable.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <stdexcept>
#include <string>
#include <vector>

#include "models/recognise.h"
#include "models/weights/checkpoint.h"
#include "models/weights/convert/rows.h"
#include "models/weights/convert/target.h"

namespace wan::convert {

/// How far the written values of a group of layers are from the source's: "self_attn", "ffn".
struct GroupError {
  std::string group;
  int64_t tensors = 0;
  double relative = 0;  // L2 of the difference over L2 of the source
};

struct Result {
  std::vector<GroupError> groups = {};  // of tensors that changed
  int64_t tensors = 0;                  // written
  int64_t resumed = 0;                  // of them by an earlier run
  uint64_t bytes = 0;                   // of the file
};

/// The network is converted, but not to this form. what() is a predicate of the form: "must be bf16 for a VAE, ...".
struct FormError : std::invalid_argument {
  using std::invalid_argument::invalid_argument;
};

/// Tensors: finished, all.
using Step = std::function<void(int64_t finished, int64_t all)>;

/// Who is told how far it is; either may be empty. `step`: before each tensor that is written, and at the end; it may
/// throw to stop, and what was written is kept. `resumed`: once before, where an earlier run wrote some.
struct Told {
  Step step = {}, resumed = {};
};

/// What a conversion leaves as it is, what it adds, and what it says of itself.
struct Options {
  /// In this order, each into what those before it left. Their tensors, in whatever form, are widened to float32,
  /// merged some rows at a time, and then get the form that they would get without: linears of the blocks the target's,
  /// others their own.
  std::vector<Merge> merges = {};
  /// Of the linears of the blocks, which change their form; all where it is empty.
  std::function<bool(const std::string& name)> changes = {};
  /// Texts for a safetensors file, by their names, beside "format".
  std::map<std::string, std::string> metadata = {};
  /// Called once all is written, before `out` is replaced, which stays as it is where it throws: SourceRefused for a
  /// source that was changed meanwhile.
  std::function<void()> check = {};
  /// Asked once the lock on `out` is held, before anything is written. True: another run has written `out` meanwhile;
  /// convert() leaves it as it is and returns a Result without tensors.
  std::function<bool()> is_there = {};
  /// Whether what was written is removed where the disk has no room for the rest. Else the next run goes on with it.
  bool discard_when_full = false;
};

/// Of transformers and text encoders the linears of the blocks change form, of a VAE the convolutions, which take
/// bfloat16 alone; all other tensors keep theirs (matrices in codes become bfloat16, the rest float32). `source` by
/// official names, which `out` has, too; `key` identifies its content, so that an interrupted run is gone on with only
/// for the same one. `out` is replaced. Throws ModelError for a network that is not converted and a source that
/// cannot be read; SourceRefused for values that are not finite, naming the tensor, and then removes what was written;
/// FormError; std::runtime_error where the disk refuses.
Result convert(const Checkpoint& source, Model model, Target target, const std::filesystem::path& out,
               const std::string& key, const Told& told, const Options& options = {});

/// Tensors that change their form and that the source has in codes, by the names of those ("F8_E4M3", "Q4_K"): what is
/// written of them is made of the codes' values, not of those that the codes were made of.
std::map<std::string, int64_t> coded_already(const Checkpoint& source, Model model, Target target);

}  // namespace wan::convert
