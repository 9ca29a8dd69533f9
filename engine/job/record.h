// What is written into a video, and beside its latents: enough to render it again and to notice other files.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "engine/request/request.h"
#include "engine/residency/device.h"
#include "engine/residency/identity.h"
#include "engine/residency/model_folder.h"

namespace wan {

/// Nothing in it varies between equal runs on equal hardware: no times, hosts or output paths.
struct Record {
  std::string version;
  Request request;                               // as asked: what followed from the inputs is found again in them
  std::string device, dtype, noise_device;       // what `auto` became: "cpu" or "cuda", "float32" or "bf16"
  std::string vae_dtype = "float32";             // or "float16": what the VAE began in (engine/frames/vae_clip.h)
  std::map<std::string, std::string> attention;  // on CUDA: which back end computed which shape
  std::vector<FileIdentity> files;
};

/// Every file of the folder (headers only). Throws ModelError.
std::vector<FileIdentity> identities(const ModelFolder& folder);

Record make_record(const Request& request, const Placement& placement, std::vector<FileIdentity> files);

std::string to_text(const Record& record);
/// Throws InvalidRequest naming `field` where the text is not such a record.
Record parse_record(const std::string& text, const std::string& field);

/// Throws ModelError that lists the files of `folder` which are not those of the record.
void check_same_files(const Record& record, const ModelFolder& folder);

}  // namespace wan
