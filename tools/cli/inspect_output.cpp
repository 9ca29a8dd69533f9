#include "tools/cli/inspect_output.h"

#include "engine/base/text.h"
#include "models/files/error.h"
#include "models/weights/dtype.h"

namespace wan {

namespace {

std::string counted(size_t number, const std::string& noun) {
  return std::to_string(number) + " " + noun + (number == 1 ? "" : "s");
}

std::string dtypes_text(const std::map<std::string, int64_t>& dtypes) {
  if (dtypes.size() == 1) return dtypes.begin()->first;
  std::string text;
  for (const auto& [dtype, tensors] : dtypes)
    text += (text.empty() ? "" : ", ") + std::to_string(tensors) + " " + dtype;
  return text.empty() ? "nothing" : text;
}

std::string config_text(const nlohmann::ordered_json& config) {
  using nlohmann::ordered_json;
  std::string text;
  for (const auto& [key, value] : config.items()) {
    text += (text.empty() ? "" : ", ") + printable(key) + " " +
            printable(value.dump(-1, ' ', true, ordered_json::error_handler_t::replace));
  }
  return text;
}

std::string shape_text(const std::vector<int64_t>& shape) {
  std::string text = "[";
  for (size_t i = 0; i < shape.size(); ++i) text += (i ? ", " : "") + std::to_string(shape[i]);
  return text + "]";
}

}  // namespace

std::string to_text(const Inspection& inspection, bool with_tensors) {
  std::string text = inspection.path + ": " + inspection.kind + "\n";
  for (const InspectedNetwork& network : inspection.networks) {
    text += network.name + ": " + network.kind + ", " + counted(network.files.size(), "file") + ", " +
            counted(network.tensors.size(), "tensor") + ", " + std::to_string(network.parameters) + " parameters, " +
            gigabytes(network.bytes) + " of " + dtypes_text(network.dtypes) + "\n";
    if (!network.config.empty()) text += "  " + config_text(network.config) + "\n";
    if (!with_tensors) continue;
    for (const auto& [name, tensor] : network.tensors) {
      text +=
          "  " + printable(name) + " " + shape_text(tensor.shape) + " " + std::string(dtype_name(tensor.dtype)) + "\n";
    }
  }
  for (const InspectedFile& file : inspection.files) text += file.name + ": " + gigabytes(file.bytes) + "\n";
  return text;
}

nlohmann::ordered_json to_json(const Inspection& inspection, bool with_tensors) {
  nlohmann::ordered_json networks = nlohmann::ordered_json::array();
  for (const InspectedNetwork& network : inspection.networks) {
    nlohmann::ordered_json entry = {{"name", network.name},
                                    {"kind", network.kind},
                                    {"files", network.files},
                                    {"tensor_count", network.tensors.size()},
                                    {"parameters", network.parameters},
                                    {"bytes", network.bytes},
                                    {"dtypes", network.dtypes},
                                    {"config", network.config}};
    if (with_tensors) {
      entry["tensors"] = nlohmann::ordered_json::object();
      for (const auto& [name, tensor] : network.tensors) {
        entry["tensors"][name] = {{"dtype", dtype_name(tensor.dtype)}, {"shape", tensor.shape}};
      }
    }
    networks.push_back(std::move(entry));
  }
  nlohmann::ordered_json files = nlohmann::ordered_json::array();
  for (const InspectedFile& file : inspection.files) files.push_back({{"name", file.name}, {"bytes", file.bytes}});
  return {{"path", inspection.path}, {"kind", inspection.kind}, {"networks", networks}, {"files", files}};
}

}  // namespace wan
