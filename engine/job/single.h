// One request rendered by itself: a batch of one whose work folder lies beside its output.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "engine/job/latents.h"
#include "engine/job/scheduler.h"

namespace wan {

struct SingleOptions {
  OutputOptions output = {};
  bool fresh = false;                  // forgets the unfinished work of the same output
  bool overwrite = false;              // replaces a file that another request made
  std::string prefix = {};             // how the names of outputs begin that were not chosen; empty: the task's name
  AttentionChoices attention = {};     // of a replay: what computed the video
  std::optional<VaeTiles> tiles = {};  // the same of its VAE
  std::optional<Expansion> expansion = {};  // the same of its prompt: nobody is asked
  std::string expander_key = {};            // RunOptions::expander_key
  std::filesystem::path copies = {};        // folder of copies of its URLs (copy_path): moved into the work folder
  std::chrono::milliseconds save_every = std::chrono::minutes(1);
  Contexts* contexts = nullptr;         // of the kernels; null: default options and no choice of attention
  std::filesystem::path previews = {};  // RunOptions::previews
  DeviceBudget::Hook budget_hook = {};  // of tests
  DeviceBudget::Look budget_look = {};  // of tests: what another program leaves
};

/// Renders `request` to its `out`, and goes on where an earlier run of the same request was interrupted or killed: its
/// state lies in OUT.work, at least once a minute and at an interrupt. A seed that was not given is the kept one; an
/// output that was not given is that of an unfinished run of the same request, else a free name. Where `out` has been
/// finished by the same request nothing is rendered, and the log says so. Returns the output's path.
/// Throws InvalidRequest where `out` or its work folder belongs to another request or another run, or an input cannot be
/// read; ModelError; Cancelled, whose text says what is kept; std::runtime_error where the machine refuses or a step
/// gives NaN.
std::string render(const Request& request, const SingleOptions& options, const Log& log, Progress& progress);

/// The work folder of a single render that latents lie in, locked; null where they lie elsewhere. Throws InvalidRequest
/// where a run works in it.
std::unique_ptr<WorkFolder> work_holding(const std::filesystem::path& latents);

/// Finishes a job from its saved latents, which the caller may then remove: `out` gets the record's request. Where the
/// device runs out of memory it goes on with less on the device, as a render does.
/// `device_answers`: of tests, in place of answers() (engine/residency/failure.h).
/// Throws InvalidRequest where its sound is not there; as attempt() (engine/job/attempts.h).
void decode_saved(const SavedLatents& saved, const std::string& out, const Placement& placement,
                  const ModelParts& parts, const OutputOptions& options, const Log& log, Progress& progress,
                  const std::function<bool(at::Device)>& device_answers = {});

}  // namespace wan
