// The command line of wan-serve, understood.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "engine/serve/api/keys.h"
#include "engine/serve/settings.h"

namespace wan {

struct ServeCommand {
  enum class Kind { Answer, Serve, AddKey, ListKeys, RemoveKey };
  Kind kind = Kind::Answer;
  std::string answer;  // --help, --version: print it and stop

  serve::Settings settings;  // of Serve
  bool self_signed = false;  // a certificate of its own lies in the data folder, made where it is absent

  std::filesystem::path keys;  // of the others: the file
  std::string name;            // of the key
  bool admin = false;
  serve::Quota quota;
};

/// Throws InvalidRequest with everything that is wrong, by the names of flags.
ServeCommand parse_serve_command(int argc, const char* const* argv);

/// The flag that sets what a part of the server names in its errors: "--tls-cert" of "tls_cert"; else the name itself.
std::string serve_flag(const std::string& field);

/// The cards of this machine that the environment shows to it: "cuda:0", ...; none where there is no driver.
std::vector<std::string> cuda_devices();

}  // namespace wan
