#include "engine/residency/model_check.h"

#include <algorithm>
#include <functional>
#include <optional>

#include "engine/residency/networks.h"
#include "models/files/error.h"
#include "models/files/foreign.h"
#include "models/text/tokenizer/tokenizer.h"
#include "models/wav2vec2/config.h"
#include "models/weights/checkpoint.h"

namespace wan {
namespace {

/// Runs all checks, and throws what they found together.
class Findings {
 public:
  void run(const std::function<void()>& check) {
    try {
      check();
    } catch (const ModelErrors& errors) {
      found_.push_back(errors);
    } catch (const ModelError& error) {
      found_.push_back(error);
    }
  }
  bool empty() const { return found_.empty(); }
  void finish() const {
    if (found_.size() > 1) throw ModelErrors(found_);
    if (!found_.empty()) throw found_[0];
  }

 private:
  std::vector<ModelError> found_;
};

/// The size of one axis, which the network's own check found to be there; 0 otherwise.
int64_t axis(const std::filesystem::path& checkpoint, const std::string& tensor, size_t index) {
  const Checkpoint headers = Checkpoint::open(checkpoint);
  const auto found = headers.tensors().find(tensor);
  return found == headers.tensors().end() || index >= found->second.shape.size() ? 0 : found->second.shape[index];
}

void check_equal(const std::filesystem::path& file, const std::string& what, int64_t wanted, const std::string& maker,
                 int64_t made) {
  if (wanted == made) return;
  throw ModelError(file.string(), "takes " + what + " of " + std::to_string(wanted) + ", and the " + maker + " makes " +
                                      std::to_string(made) + "; take all files from one model");
}

/// What the text encoder makes for an expert, and the expert for the VAE.
void check_expert(Network network, const ModelFolder& folder) {
  const std::filesystem::path path = path_of(network, folder);
  const WanConfig config =
      network == Network::Speech ? SpeechConfig::read(path / "config.json").wan : WanConfig::read(path / "config.json");
  check_equal(path, "text states", axis(path, "text_embedding.0.weight", 1), name(Network::TextEncoder),
              axis(folder.text_encoder, "token_embedding.weight", 1));
  check_equal(folder.vae, "latents", axis(folder.vae, "conv2.weight", 0), name(network), config.out_dim);
}

void check_audio(const ModelFolder& folder) {
  check_equal(folder.high_noise, "features of the speech",
              SpeechConfig::read(folder.high_noise / "config.json").audio_dim, name(Network::AudioEncoder),
              Wav2Vec2Config::read(folder.audio_encoder / "config.json").hidden_size);
}

/// "a, b, c" of at most three.
std::string some(const std::vector<std::string>& names) {
  std::string text;
  for (size_t i = 0; i < std::min<size_t>(names.size(), 3); ++i) text += (i ? ", " : "") + printable(names[i]);
  return names.size() > 3 ? text + ", ..." : text;
}

}  // namespace

void check_model(const ModelFolder& folder) {
  Findings findings;
  for (Network network : networks_of(folder)) findings.run([&] { check_network(network, folder); });
  findings.run([&] { text::Tokenizer::open(folder.tokenizer); });
  if (findings.empty()) {
    for (const std::filesystem::path& file : folder.files())
      findings.run([&] { refuse_unfinished(folder.root / file); });
    for (Network network : networks_of(folder)) {
      if (network == Network::HighNoise || network == Network::LowNoise || network == Network::Speech)
        findings.run([&] { check_expert(network, folder); });
      if (network == Network::AudioEncoder) findings.run([&] { check_audio(folder); });
    }
  }
  findings.finish();
}

void note_zero_weights(const std::vector<FileIdentity>& files, Notes& notes) {
  for (const FileIdentity& file : files) {
    if (file.zeros.empty()) continue;
    const size_t count = file.zeros.size();
    notes.add({"model",
               shown_text(file.name) + " has only zeros in " + std::to_string(count) +
                   (count == 1 ? " weight" : " weights") + " (" + some(file.zeros) +
                   "), as a download with a hole has; the video will be wrong",
               "wan-infer inspect --verify DIR compares checksums; download the file again"});
  }
}

}  // namespace wan
