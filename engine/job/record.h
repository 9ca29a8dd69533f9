// What is written into a video, and beside its latents: enough to render it again and to notice other files.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "engine/base/note.h"
#include "engine/job/input_identity.h"
#include "engine/request/interpolation.h"
#include "engine/request/quality.h"
#include "engine/request/request.h"
#include "engine/request/safety.h"
#include "engine/residency/device.h"
#include "engine/residency/identity.h"
#include "engine/residency/vae_tiles.h"
#include "kernels/attention/skip_softmax.h"

namespace wan {

/// How rows are rotated before they become 8 bits (kernels/linear/hadamard.h). Records of before it was said have none.
inline constexpr const char* kRotation = "regular Hadamard of 256";

/// Nothing in it varies between equal runs on equal hardware: no times, hosts or output paths.
struct Record {
  std::string version;
  Request request;                               // as asked: what followed from the inputs is found again in them
  std::string device, dtype, noise_device;       // what `auto` became: "cpu" or "cuda", "float32" or "bf16"
  std::string vae_dtype = "float32";             // or "float16": what the VAE began in (engine/frames/vae_clip.h)
  VaeTiles vae_tiles = {};                       // that the VAE computes in, in either dtype
  std::string rotation = {};                     // of 8-bit rows: kRotation; empty where none are multiplied
  std::map<std::string, std::string> attention;  // on CUDA: which back end computed which shape
  kernels::SkippedBlocks skipped = {};           // by Skip-Softmax in all steps; zeros without
  /// By branch of guidance: the steps that reused a residual (StepReuse::reused_steps). Empty where none did.
  std::map<std::string, std::vector<int64_t>> reused_steps = {};
  DrawingDetails drawing = {};  // of frames between others
  SafetyRecord safety = {};     // what was said of inputs and frames
  std::vector<FileIdentity> files;
  InputIdentities inputs = {};
  std::vector<Note> notes = {};                // what was assumed, left out or converted
  std::string expanded_prompt = {};            // what the text encoder read in place of the prompt; empty: the prompt
  std::optional<QualityNumbers> quality = {};  // of the video; nothing where it was not looked at
  /// Of a second render (--quality-check retry): what was asked for, where `request` is what computed it, and what was
  /// measured of the first.
  std::optional<Request> asked = {};
  std::optional<QualityNumbers> quality_first = {};
};

/// What was found in a video when it was written.
struct VideoFindings {
  SafetyRecord safety = {};                    // of its inputs, too
  std::optional<QualityNumbers> quality = {};  // nothing where it was not looked at
};

Record make_record(const Request& request, const Placement& placement, std::vector<FileIdentity> files,
                   InputIdentities inputs = {});

/// The identities of a model's files and of LoRAs', by name.
std::vector<FileIdentity> joined(std::vector<FileIdentity> files, const std::vector<FileIdentity>& more);

/// How much of a record a file holds, the parameter `metadata`. Minimal: no prompts and no names, but all numbers and
/// digests. None: nothing. Latents and work folders, which go on from it, always hold all.
enum class Metadata { Full, Minimal, None };
Metadata metadata_of(const Request& request);

/// One line of JSON; empty for None. Of the model folder and of inputs only names: stored_folder, stored_name.
std::string to_text(const Record& record, Metadata level = Metadata::Full);
/// The paths of its request are the names that were stored. Throws InvalidRequest naming `field` where the text is not
/// such a record, or a minimal one.
Record parse_record(const std::string& text, const std::string& field);

}  // namespace wan
