// What a model's folder or a single checkpoint file holds, from the headers alone: `wan-infer inspect`.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/residency/inspect_lora.h"
#include "models/files/error.h"
#include "models/recognise.h"
#include "models/weights/stored_tensor.h"

namespace wan {

/// One network: an expert's folder, an encoder's folder or a single file.
struct InspectedNetwork {
  std::string name;            // relative to the inspected path; "." for the path itself
  std::string kind;            // "UMT5 encoder", ...; "unknown network"; "no network": without tensors; "unreadable"
  std::optional<Model> model;  // nothing: none that this program runs, or unreadable
  std::string part;  // which part of a model it can be, as the request's field: "high_noise"; empty: none that is known
  /// Why it is that part: "official layout", "ComfyUI folder vae", "only candidate in the folder", "set my-i2v"; or why
  /// it is not: "one of 8 candidates", "not used: high_noise_model is taken"; empty: none.
  std::string rule;
  std::optional<ModelError> why;      // it is unreadable
  std::vector<std::string> left_out;  // other networks in the same file, which are not used
  std::string tokenizer;              // where it holds one: "the tensor spiece_model"; empty: nowhere
  std::vector<std::string> files;
  int64_t parameters = 0;
  uint64_t bytes = 0;                     // of all tensors
  std::map<std::string, int64_t> dtypes;  // tensors of each type
  nlohmann::ordered_json config;          // numbers and words of its config.json, or sizes read off the tensors
  std::map<std::string, StoredTensor> tensors;
  std::optional<InspectedLora> lora;  // of a LoRA
  std::string use;  // of an interpolator: what it draws and its version, or why it cannot; empty: it is none
  std::vector<std::string> notes;  // of a safety checker: what its folder says of it
};

/// Files without tensors that belong to the model: the tokenizer's.
struct InspectedFile {
  std::string name;
  uint64_t bytes;
  std::string rule = {};  // "official layout", "beside the text encoder", "not used: ..."
};

/// A set of models.json.
struct InspectedSet {
  std::string name, task;                    // "i2v"; empty: of no task
  std::string model;                         // its folder's name; empty: none
  std::map<std::string, std::string> parts;  // names of files, by field
  std::string wrong;                         // why it cannot be used; empty: nothing
};

/// Why a render would be refused.
struct InspectedRefusal {
  std::string field, text;  // as in a message: [field] text
  bool told = false;        // another line of the inspection says it
};

/// What a render of a task would say of the parts that were found: whether they are all there, not what is in them.
struct InspectedTask {
  std::string name;  // "t2v", of which all is true for v2v
  std::vector<InspectedRefusal> refusals;
};

struct Inspection {
  std::string path;
  std::string kind;  // what the networks are together: "text-to-video model", "part of a text-to-video model", ...
  std::vector<InspectedNetwork> networks;
  std::vector<InspectedFile> files;
  std::vector<InspectedTask> tasks;  // those whose transformer is there; of a set see inspect_set; none of one network
  std::vector<std::string> remarks;  // what was not looked at, and what a flag must choose
  std::vector<InspectedSet> sets;    // of a file of sets, or the one that was asked for
};

/// The type of a tensor's elements, or of its codes: "BF16", "F8_E4M3", "Q4_K".
std::string_view type_name(const StoredTensor& tensor);
/// Of a tensor in its file, with the scales of its blocks.
uint64_t stored_bytes(const StoredTensor& tensor);

/// Looks into `path`: a folder in any layout (engine/residency/folder_scan.h), complete or not, a folder with one
/// network, a checkpoint file, a file of sets (.json), or where nothing has that name the set of that name, of the file
/// `models` (empty: the user's own). Throws ModelError where nothing is there, and ModelErrors naming them where none
/// of the networks that are there can be read.
Inspection inspect(const std::filesystem::path& path, const std::string& models = "");

}  // namespace wan
