#include "engine/job/previews.h"

#include <chrono>

#include "engine/base/error.h"
#include "engine/frames/latent_preview.h"
#include "engine/residency/builders.h"
#include "engine/residency/failure.h"
#include "engine/residency/open_network.h"
#include "models/files/error.h"

namespace wan {

namespace {

/// What a map belongs to: the digests of the VAE's files.
std::string vae_of(const Group& group) {
  std::string digests;
  for (const FileIdentity& file : group.files)
    if (file.part == field_of(Network::Vae)) digests += (digests.empty() ? "" : " ") + file.digest;
  return digests;
}

}  // namespace

std::optional<vae::LatentRgb> Previews::map_of(const Group& group, Progress& progress, const std::string& label) {
  const std::string vae = vae_of(group);
  if (const auto known = known_.find(vae); known != known_.end()) return known->second;
  std::optional<vae::LatentRgb> map = cache_.find(vae);
  if (!map && (map = fitted(group.parts, progress, label))) cache_.keep(vae, *map);
  return known_[vae] = map;
}

std::optional<vae::LatentRgb> Previews::fitted(const ModelParts& parts, Progress& progress,
                                               const std::string& label) const try {
  const auto start = std::chrono::steady_clock::now();
  const auto built =
      build_vae(open_network(Network::Vae, parts), Place{}, at::kFloat, {.check = [&] { progress.check(); }});
  vae::LatentRgb map = fit_preview(*built.model, [&](int64_t picture) {
    progress.at({Stage::Load, picture, kPreviewPictures, "", label});
  });
  log_("preview", {{"fitted", shown_text(parts.networks.at(Network::Vae).name)},
                   {"seconds", std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count()}});
  return map;
} catch (const Cancelled&) {
  throw;
} catch (const Withdrawn&) {
  throw;
} catch (const std::exception& error) {
  log_("note", {{"subject", "preview"}, {"text", "is not shown: " + text_of(error)}});
  return std::nullopt;
}

}  // namespace wan
