// One value of a request, from JSON or a flag's text to the type its field has. Each function throws InvalidRequest
// with one error that carries the parameter's name. `text` allows numbers and booleans to come as text, as flags do.
#pragma once

#include <nlohmann/json.hpp>

#include "engine/request/params.h"

namespace wan {

/// 81, 81.0, and with `text` "81"; nothing else.
int64_t read_integer(const Parameter& parameter, const nlohmann::json& value, bool text);
/// A finite number.
/// Nothing where it is -1, which stands for a drawn one; from 0 to 2^64 - 1 otherwise.
std::optional<uint64_t> read_seed(const Parameter& parameter, const nlohmann::json& value, bool text);
double read_number(const Parameter& parameter, const nlohmann::json& value, bool text);
/// true or false; with `text` also true, yes, on, 1 and their opposites as words.
bool read_boolean(const Parameter& parameter, const nlohmann::json& value, bool text);
/// Well-formed UTF-8, at most 1 MiB, or as a data URL 44 MiB (32 MiB in base64); a path is neither empty nor holds a
/// NUL.
std::string read_text(const Parameter& parameter, const nlohmann::json& value);
/// A list of finite numbers; with `text` also "1,0.9,0.5".
std::vector<double> read_numbers(const Parameter& parameter, const nlohmann::json& value, bool text);

/// A list of {"path", "scale", "transformer"}, of which the path alone must be there; with `text` one or several of
/// "FILE[:SCALE[,SCALE...]][@high|low|both]", read from the right: what is no such ending belongs to the file's name.
std::vector<Lora> read_loras(const Parameter& parameter, const nlohmann::json& value, bool text);
/// Throws InvalidRequest unless its path is a file that can be read; where none is there it says how FILE, SCALE and
/// expert are written, as far as the path looks like that.
void check_lora_file(const std::string& field, const Lora& lora);

}  // namespace wan
