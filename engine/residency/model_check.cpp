#include "engine/residency/model_check.h"

#include <algorithm>
#include <functional>
#include <set>
#include <system_error>
#include <utility>

#include "engine/residency/networks.h"
#include "engine/residency/open_network.h"
#include "engine/residency/part_kinds.h"
#include "models/files/error.h"
#include "models/files/foreign.h"
#include "models/names/shapes.h"
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

/// A text encoder has no config.json here: of the width of the published one its depth is known, and a file without its
/// last blocks is told.
void check_text_encoder(const ModelParts& parts) {
  constexpr int64_t kDim = 4096, kBlocks = 24;  // umt5-xxl
  const Checkpoint encoder = open_network(Network::TextEncoder, parts);
  const int64_t blocks = names::count(encoder.tensors(), "blocks");
  if (axis(encoder, "token_embedding.weight", 1) != kDim || blocks >= kBlocks) return;
  throw ModelError(parts.path_of(Network::TextEncoder).string(),
                   "must have " + std::to_string(kBlocks) + " blocks, as umt5-xxl, has " + std::to_string(blocks) +
                       ": it is incomplete; download it again");
}

std::string counted_blocks(int64_t number) {
  return std::to_string(number) + (number == 1 ? " block" : " blocks");
}

/// Both experts must be of one size where one has no config.json that states its own: a file without its last blocks is
/// then taken for a smaller network.
void check_same_sizes(const ModelParts& parts) {
  const ModelPart &high = parts.networks.at(Network::HighNoise), &low = parts.networks.at(Network::LowNoise);
  const auto is_stated = [](const ModelPart& part) {
    std::error_code ignored;
    return std::filesystem::exists(part.path / "config.json", ignored);
  };
  if (is_stated(high) && is_stated(low)) return;
  const WanConfig of_high = expert_config(high, open_network(Network::HighNoise, parts));
  const WanConfig of_low = expert_config(low, open_network(Network::LowNoise, parts));
  if (of_high.num_layers != of_low.num_layers) {
    const bool high_has_fewer = of_high.num_layers < of_low.num_layers;
    const ModelPart &fewer = high_has_fewer ? high : low, &more = high_has_fewer ? low : high;
    const auto [least, most] = std::minmax(of_high.num_layers, of_low.num_layers);
    const std::string way = is_stated(fewer) ? "they are of different models; take both experts from one model"
                                             : "this one is probably incomplete; download it again, or take both "
                                               "experts from one model";
    throw ModelError(fewer.path.string(), "has " + counted_blocks(least) + ", and " + shown_text(more.name, 120) +
                                              " has " + std::to_string(most) + ": " + way);
  }
  constexpr std::pair<const char*, int64_t WanConfig::*> kSizes[] = {{"dim", &WanConfig::dim},
                                                                     {"ffn_dim", &WanConfig::ffn_dim},
                                                                     {"freq_dim", &WanConfig::freq_dim},
                                                                     {"in_dim", &WanConfig::in_dim},
                                                                     {"out_dim", &WanConfig::out_dim}};
  for (const auto& [key, size] : kSizes)
    if (of_high.*size != of_low.*size)
      throw ModelError(high.path.string(), "has " + std::string(key) + " " + std::to_string(of_high.*size) + ", and " +
                                               shown_text(low.name, 120) + " has " + std::to_string(of_low.*size) +
                                               "; take both experts from one model");
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
      if (network == Network::TextEncoder) findings.run([&] { check_text_encoder(parts); });
      if (network == Network::HighNoise) findings.run([&] { check_same_sizes(parts); });
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
