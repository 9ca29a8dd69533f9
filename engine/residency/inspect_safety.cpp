#include "engine/residency/inspect_safety.h"

#include <system_error>

#include "engine/residency/safety_network.h"
#include "models/files/config_json.h"
#include "models/files/error.h"
#include "models/weights/format/layout.h"

namespace wan {

namespace fs = std::filesystem;

bool is_safety_folder(const fs::path& folder) {
  return has_safety_config(folder) && holds_checkpoint(folder);
}

bool has_safety_config(const fs::path& folder) {
  std::error_code ignored;
  if (!fs::is_regular_file(folder / "config.json", ignored)) return false;
  try {
    const ConfigJson json = ConfigJson::read(folder / "config.json");
    const auto type = json.json().find("model_type");
    return type != json.json().end() && (*type == "vit" || *type == "clip");
  } catch (const ModelError&) {
    return false;  // told where the folder is listed
  }
}

bool is_safety_checker(const Recognised& found) {
  return found.name == safety::name_of(safety::ClassifierConfig()) ||
         found.name == safety::name_of(safety::ConceptsConfig());
}

std::vector<std::string> safety_notes(const fs::path& folder, const Recognised& found) {
  try {
    const SafetyFiles files = find_safety_checker(folder);
    const safety::Config config = safety::read_config(files.config);
    if (found.name != safety::name_of(config))
      throw ModelError(files.config.string(), "must describe the weights beside it (" + found.name + "), describes: " +
                                                  safety::name_of(config) + "; take both files of one model");
    safety::Preprocessing::read(files.preprocessor, config);
    return {"safety checker: " + safety_description(config)};
  } catch (const ModelError& error) {
    return {std::string("no safety checker as it lies there: ") + error.what()};
  }
}

}  // namespace wan
