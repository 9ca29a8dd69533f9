// The keys of a LoRA file, sorted by the modules that they change. Knows names and shapes alone: nothing of
// libtorch's is called.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "models/weights/lora/names.h"

namespace wan::lora {

/// What a file has for one module.
struct ModuleKeys {
  std::string spelled;               // the module as its keys have it
  std::map<Part, std::string> keys;  // names in the file
};

struct SortedKeys {
  std::map<std::string, ModuleKeys> modules;  // by their official names
  std::map<std::string, std::string> exempt;  // left out, with the reason for each
  std::vector<std::string> unknown;           // of which the network has no module
  std::string dialect;                        // how most modules are spelled
  size_t of_text_encoder = 0;                 // keys, some of them unknown
};

/// `tensors`: of the file; `network`: by official names. Throws ModelError naming `label` for a key that replaces a
/// weight, and for two keys that say the same.
SortedKeys sort_keys(const StoredTensors& tensors, const StoredTensors& network, const std::string& label);

/// Whether all keys are of a text encoder.
bool of_text_encoder_alone(const SortedKeys& keys);

/// Throws ModelError for a file that is no LoRA of the network, and unless `lax` for unknown keys.
void check_keys(const SortedKeys& keys, bool lax, const std::string& label);

/// The tensor of a module that a part changes.
std::string tensor_of(const std::string& module, Part part);

}  // namespace wan::lora
