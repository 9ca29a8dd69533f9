// What a model's folder or a single checkpoint file holds, from the headers alone: `wan-infer inspect`.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "models/weights/stored_tensor.h"

namespace wan {

/// One network: an expert's folder, an encoder's folder or a single file.
struct InspectedNetwork {
  std::string name;  // relative to the inspected path; "." for the path itself
  std::string kind;  // "text-to-video transformer", "UMT5 encoder", ...; "unknown network"; "unreadable"
  std::string part;  // which part of a model it can be, as the request's field: "high_noise"; empty: none that is known
  std::string rule;  // of the layout it lies in: "official layout", "ComfyUI folder vae"; empty: none
  std::string why;   // it is unreadable
  std::vector<std::string> files;
  int64_t parameters = 0;
  uint64_t bytes = 0;                     // of all tensors
  std::map<std::string, int64_t> dtypes;  // tensors of each type
  nlohmann::ordered_json config;          // numbers and words of its config.json, or sizes read off the tensors
  std::map<std::string, StoredTensor> tensors;
};

/// Files without tensors that belong to the model: the tokenizer's.
struct InspectedFile {
  std::string name;
  uint64_t bytes;
};

struct Inspection {
  std::string path;
  std::string kind;  // what the networks are together: "text-to-video model", "network", ...
  std::vector<InspectedNetwork> networks;
  std::vector<InspectedFile> files;
  std::vector<std::string> remarks;  // what was not looked at
};

/// Looks into `path`: a folder in any layout (engine/residency/folder_scan.h), complete or not, a folder with one
/// network, or a checkpoint file. Throws ModelError where nothing is there, or nothing that can be read.
Inspection inspect(const std::filesystem::path& path);

}  // namespace wan
