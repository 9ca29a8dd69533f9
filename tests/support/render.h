// What tests of whole renders share.
#pragma once

#include <c10/core/InferenceMode.h>

#include "engine/job/single.h"
#include "engine/request/manifest.h"
#include "tests/engine/media_support.h"
#include "tests/support.h"
#include "tests/support/job.h"

namespace wan {

/// The jobs of a manifest.
inline std::vector<JobRequest> jobs_of(const std::string& manifest, uint64_t draw) {
  std::vector<JobRequest> jobs;
  for (const ManifestJob& job : read_manifest(manifest, {.draw = draw}))
    jobs.push_back({.line = job.line, .request = job.request});
  return jobs;
}

/// The file that the same request gives when it is rendered by itself.
inline std::string rendered_alone(const Request& request) {
  c10::InferenceMode inference;
  const TemporaryFolder folder;
  Request alone = request;
  alone.out = folder / "alone.mp4";
  alone.out_given = true;
  Silent silent;
  render(alone, {}, Log{}, silent);
  return bytes_of(alone.out);
}

}  // namespace wan
