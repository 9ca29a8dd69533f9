// What an operator chooses for a server.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "engine/serve/net/server.h"

namespace wan::serve {

struct Settings {
  NetOptions net;
  std::filesystem::path data;                 // 0700: database, files, work folders
  std::map<std::string, std::string> models;  // t2v, i2v, v2v, s2v -> folder, file or the name of a set; v2v: t2v's
  std::map<std::string, std::string> interpolators;  // film, rife -> file or folder of its weights
  std::string expander_url, expander_model;          // the language server; without url no prompt is expanded
  std::string safety_checker;                        // folder of a checker; empty: none
  std::optional<double> safety_threshold;            // the checker's own where there is none
  std::string safety_action = "refuse";              // refuse | blur | flag
  std::string blocked_words;                         // file of words that no prompt may have; empty: none
  std::vector<std::string> devices;                  // one worker each: "cuda:0", "cpu"
  std::filesystem::path keys;                        // empty: no keys
  bool no_auth = false;                              // listens beyond loopback without keys
  std::string cors;                                  // an origin that browsers may send from; empty: none
  std::string default_acceleration = "none";
  std::string precision = "exact";
  std::string size_override;                  // "64x64": every request is rendered at that size; empty: as asked
  std::map<std::string, std::string> render;  // further fields for every job: steps of tests, device_memory, loras
  uint64_t most_file_bytes = uint64_t(1) << 30;
  std::filesystem::path latents_dir;    // whose files requests of /v1/videos may name as latent_path; empty: none
  bool answer_paths = false;            // those calls may answer the path of a video in `data`
  bool private_urls = true;             // inputs and webhooks may lead to private addresses
  std::chrono::seconds window{300};     // how long a job may wait for others of its batch
  std::chrono::seconds idle_unload{0};  // 0: never
  /// A worker whose job makes no progress for so long is killed; 0: never. Nothing: two hours on a GPU, never on the CPU,
  /// where a step may take longer.
  std::optional<std::chrono::seconds> worker_timeout = {};
  std::chrono::seconds keep{7 * 24 * 3600};       // of ended jobs and their files
  uint64_t keep_bytes = 0;                        // 0: no limit
  uint64_t least_free_bytes = uint64_t(2) << 30;  // of the disk: below it no job is begun
  double requests_per_second = 0;                 // for each key; 0: no limit
  bool log_json = false;
};

}  // namespace wan::serve
