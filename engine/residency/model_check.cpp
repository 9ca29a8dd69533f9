#include "engine/residency/model_check.h"

#include <algorithm>
#include <functional>
#include <set>

#include "engine/residency/networks.h"
#include "engine/residency/open_network.h"
#include "engine/residency/part_kinds.h"
#include "models/files/error.h"
#include "models/files/foreign.h"
#include "models/vae/vae.h"
#include "models/weights/scope.h"

namespace wan {
namespace {

/// Runs all checks, and throws what they found together.
class Findings {
 public:
  void run(const std::function<void()>& check) {
    try {
      check();
    } catch (const ModelErrors& errors) {
      found_.insert(found_.end(), errors.list.begin(), errors.list.end());
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
int64_t axis(const Checkpoint& checkpoint, const std::string& tensor, size_t index) {
  const auto found = checkpoint.tensors().find(tensor);
  return found == checkpoint.tensors().end() || index >= found->second.shape.size() ? 0 : found->second.shape[index];
}

void check_equal(const std::filesystem::path& file, const std::string& what, int64_t wanted, const std::string& maker,
                 int64_t made) {
  if (wanted == made) return;
  throw ModelError(file.string(), "takes " + what + " of " + std::to_string(wanted) + ", and the " + maker + " makes " +
                                      std::to_string(made) + "; take all files from one model");
}

/// What the text encoder makes for an expert, and the expert for the VAE.
void check_expert(Network network, const ModelParts& parts) {
  const ModelPart& part = parts.networks.at(network);
  const Checkpoint checkpoint = open_network(network, parts), vae = open_network(Network::Vae, parts);
  const WanConfig config =
      network == Network::Speech ? speech_config(part, checkpoint).wan : expert_config(part, checkpoint);
  check_equal(part.path, "text states", axis(checkpoint, "text_embedding.0.weight", 1), name(Network::TextEncoder),
              axis(open_network(Network::TextEncoder, parts), "token_embedding.weight", 1));
  check_equal(parts.path_of(Network::Vae), "latents", axis(vae, "conv2.weight", 0), name(network), config.out_dim);
}

void check_audio(const ModelParts& parts) {
  const ModelPart &speech = parts.networks.at(Network::Speech), &audio = parts.networks.at(Network::AudioEncoder);
  check_equal(speech.path, "features of the speech",
              speech_config(speech, open_network(Network::Speech, parts)).audio_dim, name(Network::AudioEncoder),
              audio_config(audio, open_network(Network::AudioEncoder, parts)).hidden_size);
}

/// "a, b, c" of at most three.
std::string some(const std::vector<std::string>& names) {
  std::string text;
  for (size_t i = 0; i < std::min<size_t>(names.size(), 3); ++i) text += (i ? ", " : "") + printable(names[i]);
  return names.size() > 3 ? text + ", ..." : text;
}

}  // namespace

void check_model(const ModelParts& parts) {
  Findings findings;
  for (const auto& [network, part] : parts.networks) findings.run([&, network] { check_network(network, parts); });
  findings.run([&] { open_tokenizer(parts); });
  if (findings.empty()) {
    for (const PartFile& file : parts.files()) findings.run([&] { refuse_unfinished(file.path); });
    for (const auto& [network, part] : parts.networks) {
      if (network == Network::HighNoise || network == Network::LowNoise || network == Network::Speech)
        findings.run([&, network] { check_expert(network, parts); });
      if (network == Network::AudioEncoder) findings.run([&] { check_audio(parts); });
    }
  }
  findings.finish();
}

void check_experts_differ(const std::vector<FileIdentity>& files) {
  const auto weights_of = [&](Network network) {
    WeightsSum sum;
    for (const FileIdentity& file : files)
      if (file.part == field_of(network)) sum.add(file.weights);
    return sum;
  };
  const WeightsSum high = weights_of(Network::HighNoise);
  if (high == WeightsSum{} || high != weights_of(Network::LowNoise)) return;
  const auto of_low = [](const FileIdentity& file) { return file.part == field_of(Network::LowNoise); };
  throw ModelError(std::find_if(files.begin(), files.end(), of_low)->name,
                   "must be the low-noise expert, has the weights of the high-noise one; download it again, or " +
                       flag_of(Network::LowNoise) + " names it");
}

void note_search(const ModelParts& parts, Notes& notes) {
  for (const std::string& remark : parts.remarks) notes.add({"model", remark});
  const auto vae = parts.networks.find(Network::Vae);
  if (vae == parts.networks.end()) return;
  Weights weights(open_network(Network::Vae, parts), Place().planned());
  const vae::Vae model(weights);
  if (const std::vector<std::string> others = weights.unused(); !others.empty())
    notes.add({"model", shown_text(vae->second.name, 120) + " holds " + std::to_string(others.size()) +
                            (others.size() == 1 ? " tensor" : " tensors") + " that the VAE does not have (" +
                            some(others) + "): not used"});
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
