// The maps of previews: each VAE's is fitted once, before anything of its job is loaded.
#pragma once

#include <map>
#include <optional>
#include <string>

#include "engine/base/log.h"
#include "engine/base/progress.h"
#include "engine/frames/preview_cache.h"
#include "engine/job/job.h"

namespace wan {

class Previews {
 public:
  /// `folder` keeps maps from run to run; empty: each process fits its own.
  Previews(std::filesystem::path folder, const Log& log) : cache_(std::move(folder)), log_(log) {}

  /// The map of the group's VAE: one that is known, else one that is fitted now. For that the VAE's file is mapped on the
  /// host, computes in float32 on pictures of 96x96 pixels, and goes again, whatever the group's placement is: nothing is
  /// taken of a device, and less than 0.1 GB of the host beside the mapped file. The log says how long it took. Nothing
  /// where that is impossible, which the log says, too: no render fails for it. Throws Cancelled.
  std::optional<vae::LatentRgb> map_of(const Group& group, Progress& progress, const std::string& label);

 private:
  std::optional<vae::LatentRgb> fitted(const ModelParts& parts, Progress& progress, const std::string& label) const;

  PreviewCache cache_;
  const Log& log_;
  std::map<std::string, std::optional<vae::LatentRgb>> known_;  // by the digests of the VAE's files
};

}  // namespace wan
