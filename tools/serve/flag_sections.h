// The groups of flags in the help of wan-serve, and what each part of its command line reads.
#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "engine/serve/settings.h"
#include "tools/serve/flag_words.h"
#include "tools/serve/serve_flags.h"

namespace wan {

inline constexpr const char *kNetwork = "Network", *kAccess = "Access", *kWork = "Work", *kStorage = "Storage",
                            *kGeneral = "General";

/// The flag --help and the look of its text.
void use_help(CLI::App& app);
/// A size: "200G" and "512M" are as "200GB" and "512MB".
std::optional<uint64_t> read_bytes(const std::string& text);

// Each reads its part of `words` into settings; what is wrong is added to the words' errors.
/// --gpus and --device.
void read_devices(FlagWords& words, serve::Settings& settings);
/// --render: fields of every job, checked by the table of parameters for each task that `settings.models` serves.
void read_render(FlagWords& words, serve::Settings& settings);
/// All flags of the server, those of the two above too. Throws InvalidRequest with all errors.
ServeCommand read_settings(FlagWords& words);

/// `wan-serve key add|list|remove`: the words behind "key". Throws InvalidRequest.
ServeCommand parse_key_command(const std::vector<std::string>& words);

}  // namespace wan
