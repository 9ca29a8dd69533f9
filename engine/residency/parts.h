// The parts of a model: which file or folder holds each network of a task, and by which rule it was found.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "engine/request/request.h"
#include "engine/residency/file_stamp.h"

namespace wan {

/// In the order in which a job needs them.
enum class Network { TextEncoder, AudioEncoder, HighNoise, LowNoise, Speech, Vae };

/// "text encoder", "high-noise expert" and so on.
const char* name(Network network);
/// The request's field that names a file for it: "text_encoder", "high_noise" and so on; "transformer" for speech.
const char* field_of(Network network);
/// Two experts, or for speech one model and an audio encoder.
std::vector<Network> networks_of(Task task);

/// What a LoRA's file is called among the parts of a model: PartFile::part.
inline constexpr const char* kLoraPart = "loras";

/// The same of an interpolator's file.
inline constexpr const char* kInterpolatorPart = "interpolator";

/// The same of the files of a safety checker.
inline constexpr const char* kSafetyPart = "safety_checker";

/// Where one part lies.
struct ModelPart {
  std::filesystem::path path;  // a folder or a file
  std::string name;            // relative to the model's folder, with '/'; elsewhere the last component alone
  std::string rule;            // "--high-noise", "official layout", "set my-i2v", ...
};

/// The file of an interpolator.
struct InterpolatorPart {
  std::string model = {};  // film | rife
  ModelPart file = {};

  bool is_there() const { return !file.path.empty(); }
};

/// One file of a model that decides the output.
struct PartFile {
  std::filesystem::path path;
  std::string name;  // ModelPart::name, with the file's own name behind that of a folder; each once in a model
  std::string part;  // field_of, "tokenizer", kLoraPart, kInterpolatorPart or kSafetyPart
  std::string rule;
};

struct ModelParts {
  std::filesystem::path root;             // the folder that the search began in; empty where every part was named
  std::map<Network, ModelPart> networks;  // all that the task needs
  ModelPart tokenizer;                    // folder or file; the text encoder's own path where it holds one
  std::vector<ModelPart> loras;           // files of the request's LoRAs, each once
  InterpolatorPart interpolator;          // of the request; not there where it draws nothing
  ModelPart safety_checker;               // folder, of the request; without a path where it looks at no pictures
  std::vector<std::string> remarks;       // what the search left out or took on trust, for notes
  SeenFiles seen;                         // its files as they were identified (engine/residency/unchanged.h); or empty

  const std::filesystem::path& path_of(Network network) const { return networks.at(network).path; }
  bool is_speech() const { return networks.contains(Network::Speech); }

  /// For identities and listings, by name. Of other files that lie there none counts, and what is absent is left to
  /// check_model. Throws ModelError for a broken index.
  std::vector<PartFile> files() const;
  /// Those of one part: a network's field_of, "tokenizer", kLoraPart, kInterpolatorPart or kSafetyPart. A tokenizer inside the text encoder has none of its own.
  std::vector<PartFile> files_of(const std::string& field) const;
};

}  // namespace wan
