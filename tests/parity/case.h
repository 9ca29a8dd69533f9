// Golden cases of a reference folder: found at run time, each run by the first handler that takes it.
// A case's JSON states settings, names, shapes and tolerances; a handler hard-codes none of them.
#pragma once

#include <ATen/ATen.h>

#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <vector>

namespace wan::parity {

/// One `cases/<name>.json` with its `.safetensors`, and the book of what was compared.
class Case {
 public:
  Case(const std::filesystem::path& folder, const std::string& name);

  std::string name;
  nlohmann::json json;
  std::filesystem::path folder;               // the reference folder; files of the case lie in folder / "cases"
  std::map<std::string, at::Tensor> tensors;  // empty where the case is JSON only

  bool has(const std::string& tensor) const { return tensors.count(tensor) > 0; }
  /// An input: counts as seen. Throws where it is absent.
  at::Tensor input(const std::string& tensor);
  /// Compares with the stored tensor within its `atol_fp32` (integers exactly; `fallback_atol` where none is stated)
  /// and records a gtest failure that names case and tensor. A tensor that the case does not have is ignored.
  void expect(const std::string& tensor, const at::Tensor& got, double fallback_atol = 0);
  /// Relative RMS within 3 x `bf16_emulation_vs_f64_rel_rms` of the stored tensor; for runs with bf16 arithmetic.
  void expect_bf16(const std::string& tensor, const at::Tensor& got);
  /// The checkpoint folder of the case.
  std::filesystem::path checkpoint() const;
  /// Fails for tensors that no call above has seen: nothing in a golden file goes unchecked.
  void expect_all_seen() const;

 private:
  std::set<std::string> seen_;
};

/// Runs one kind of case. `takes` looks at the JSON, never at the file's name.
struct Handler {
  const char* kind;
  bool (*takes)(const Case&);
  void (*run)(Case&);
};

// One file each; listed in main.cpp.
extern const Handler kTokenizer, kTextEncoder, kTransformer, kVae, kRope, kSchedulers, kRng, kImageSizes, kSpeechSizes,
    kEndToEnd, kEndToEndSpeech;
extern const Handler kWav2Vec2, kResampling, kSpeechClock, kSpeechTransformer, kSpeechAudioTokens, kSpeechMotionTokens,
    kSpeechSpread;

}  // namespace wan::parity
