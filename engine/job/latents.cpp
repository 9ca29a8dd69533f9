#include "engine/job/latents.h"

#include <ATen/ATen.h>

#include "engine/base/error.h"
#include "engine/base/text.h"
#include "engine/media/media_kind.h"
#include "engine/request/files.h"
#include "models/files/error.h"
#include "models/vae/latent.h"
#include "models/weights/checkpoint.h"
#include "models/weights/format/safetensors.h"

namespace wan {

namespace fs = std::filesystem;

namespace {

/// Whether a request can have made it: sides are multiples of 16 pixels, up to the transformer's 1024 positions.
bool is_latent(const at::Tensor& latents) {
  if (latents.dim() != 4 || latents.size(0) != vae::kLatentChannels || latents.scalar_type() != at::kFloat)
    return false;
  auto is_side = [](int64_t size) { return size >= 2 && size <= 2048 && size % 2 == 0; };
  return is_side(latents.size(2)) && is_side(latents.size(3));
}

/// A file by its last component alone, so that a stranger's latents name nothing else of this machine.
std::string named_file(const fs::path& beside, const std::string& stored) {
  const fs::path name = fs::path(stored).filename();
  if (name.empty()) return "";
  return fs::exists(beside / name) ? (beside / name).string() : name.string();
}

}  // namespace

void save_latents(const std::filesystem::path& path, const SavedLatents& saved) {
  write_with_digest(path, {{"latents", saved.latents}},
                    {{"wan_infer", to_text(saved.record)},
                     {"frames", std::to_string(saved.frames)},
                     {"audio_from", fs::path(saved.audio_from).filename().string()}});
}

SavedLatents load_latents(const std::filesystem::path& path) try {
  if (const std::string kind = media_kind_of(path.string()); !kind.empty())
    throw InvalidRequest("latents", "must be a .latents.safetensors file that wan-infer wrote, got " +
                                        shown_path(path.string()) + ": " + kind +
                                        "; a render keeps latents in OUT.work");
  auto file = MappedFile::open(path);
  auto metadata = read_safetensors_metadata(file);
  if (has_digest(path) && !is_undamaged(path))
    throw InvalidRequest("latents", "must be as they were written, and " + shown_path(path.string()) +
                                        " is damaged: its content has another digest; render it again");
  Checkpoint checkpoint = Checkpoint::open(path);
  if (!metadata.count("wan_infer") || !checkpoint.tensors().count("latents"))
    throw InvalidRequest("latents",
                         "must be a .latents.safetensors file that wan-infer wrote, got " + shown_path(path.string()));
  SavedLatents saved{.latents = checkpoint.map("latents").clone(),
                     .frames = std::atoll(metadata["frames"].c_str()),
                     .audio_from = named_file(path.parent_path(), metadata["audio_from"]),
                     .record = parse_record(metadata.at("wan_infer"), "latents")};
  if (!is_latent(saved.latents) || saved.frames < 1 || saved.frames > 4 * saved.latents.size(1) - 3)
    throw InvalidRequest("latents",
                         "must hold a float32 latent [16, T, h, w] of a video and its number of frames, got " +
                             saved.latents.toString() + shown_shape(saved.latents.sizes()) + " and '" +
                             printable(metadata["frames"]) + "' frames in " + shown_path(path.string()));
  return saved;
} catch (const ModelError& error) {
  std::error_code ignored;
  if (!fs::exists(path, ignored))
    throw InvalidRequest("latents", "must be a .latents.safetensors file, and there is no file " +
                                        shown_missing(path.string()) + "; a render keeps it in OUT.work");
  const std::string reason = error.what();
  throw InvalidRequest("latents", "must be a .latents.safetensors file that wan-infer wrote: " +
                                      reason.substr(0, reason.find("; ")) + "; a render keeps it in OUT.work");
}

}  // namespace wan
