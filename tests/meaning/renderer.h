// Renders the clips that tests/nano/expected.json lists, and holds what they show against it.
#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "engine/job/text_states.h"
#include "engine/request/step_reuse.h"
#include "engine/residency/networks.h"
#include "models/weights/checkpoint.h"
#include "tests/meaning/measure.h"
#include "tests/support/job.h"

namespace wan {

inline const std::filesystem::path kNanoTests = WAN_SOURCE_DIR "/tests/nano";
inline const std::filesystem::path kNanoModel = kNanoTests / "Wan2.2-T2V-A14B-nano";

/// tests/nano/expected.json.
nlohmann::json nano_expected();

struct Clip {
  at::Tensor latent, video;  // [16, T, h, w], [3, F, H, W]
};

/// Renders clips one after the other with one set of networks, on the CPU.
class Renderer {
 public:
  /// `model`: the words of a command line that say where the parts lie. Every setting that expected.json does not name is
  /// the program's default. Throws as find_parts and Networks.
  /// `flags`: further words of it.
  explicit Renderer(const std::string& dtype, const std::string& precision = "exact",
                    const std::vector<std::string>& model = {"--model", kNanoModel.string()},
                    const std::vector<std::string>& flags = {});

  const nlohmann::json& expected() const { return expected_; }
  size_t count() const { return expected_["clips"].size(); }
  /// `loras`: values of --lora.
  Clip render(size_t i, const std::vector<std::string>& loras = {});
  /// The same of another prompt, with clip i's seed.
  Clip render(const std::string& prompt, size_t i, const std::vector<std::string>& loras = {});
  Networks& networks() { return models_; }
  TextStates& text() { return text_; }
  /// Which steps of each clip reuse a residual.
  const StepReuse& reuse() const { return reuse_; }
  /// A tensor of golden.safetensors, undefined where clip i is not one of the stored ones.
  at::Tensor golden(size_t i, const std::string& what) const;

 private:
  Request request_of(const std::string& prompt, size_t i, const std::vector<std::string>& loras) const;

  nlohmann::json expected_;
  Checkpoint golden_;
  std::string dtype_, precision_;
  std::vector<std::string> model_, flags_;
  Request first_;
  Networks models_;
  TextStates text_;
  StepReuse reuse_;
  QuietRun quiet_;
};

/// "red square left black": what a clip shows in the words of its world, by the nearest of its colours.
std::string verdict(const Measured& got);
/// The same of "measured" of a clip; an object that does not move has no direction.
std::string verdict(const nlohmann::json& want);

/// `want`: "measured" of a clip; `tolerance`: one of those of expected.json.
void expect_meaning(const Measured& got, const nlohmann::json& want, const nlohmann::json& tolerance);

}  // namespace wan
