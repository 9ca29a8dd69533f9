#include "engine/serve/job_files.h"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <exception>
#include <string_view>
#include <system_error>
#include <utility>

namespace wan::serve {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kInputFolders[] = {"/uploads/", "/outputs/"};

/// The names of files in our folders, in every text of the JSON: of URLs and of paths.
void collect(const nlohmann::json& json, std::set<std::string>& names) {
  if (json.is_string()) {
    const std::string& text = json.get_ref<const std::string&>();
    for (const std::string_view folder : kInputFolders) {
      const size_t at = text.rfind(folder);
      if (at == text.npos) continue;
      const std::string name = text.substr(at + folder.size());
      names.insert(name.substr(0, name.find_first_of("/?#")));
    }
  } else if (json.is_structured()) {
    for (const nlohmann::json& value : json) collect(value, names);
  }
}

/// Whether a name leads out of no folder.
bool is_plain(const std::string& name) {
  return !name.empty() && name[0] != '.' && name.find('/') == name.npos;
}

}  // namespace

std::vector<std::string> files_needed_by(const Job& job) {
  std::set<std::string> names;
  collect(job.input, names);
  collect(job.fields, names);
  return {names.begin(), names.end()};
}

void JobFiles::claim(const Job& job) {
  const auto [place, is_new] = needs_.try_emplace(job.id);
  if (!is_new) return;
  place->second = std::make_unique<FilesInUse::Claim>(files_.in_use());
  for (const std::string& name : files_needed_by(job)) {
    place->second->add(name);
    files_.in_use().accepted(name);
  }
}

void JobFiles::freed(const std::string& name, bool is_orphan) {
  if (unowned_.erase(name) > 0 || is_orphan) remove_file(name);
}

void JobFiles::remove(const Job& job) {
  if (is_plain(job.preview_key)) remove_soon(data_ / "previews" / (job.preview_key + ".jpg"));
  if (job.output && is_plain(job.output->file)) give_up(job.output->file);
  for (const std::string& name : files_needed_by(job))
    if (Files::is_input_name(name)) give_up(name);
}

void JobFiles::give_up(const std::string& name) {
  if (files_.in_use().has(name))
    unowned_.insert(name);
  else
    remove_file(name);
}

/// A video, or an input that was made for a job.
void JobFiles::remove_file(const std::string& name) {
  if (!Files::is_input_name(name)) return remove_soon(data_ / "outputs" / name);
  boost::asio::co_spawn(
      io_, [self = shared_from_this(), name]() -> Awaitable<void> { co_await self->remove_upload(name); },
      [](const std::exception_ptr&) {});  // where the store does not take it, it goes when it is old
}

void JobFiles::remove_soon(fs::path path) {
  boost::asio::co_spawn(
      io_,
      [self = shared_from_this(), path = std::move(path)]() -> Awaitable<void> {
        auto work = [&path] {
          std::error_code ignored;
          fs::remove(path, ignored);
        };
        co_await self->pool_.run(std::move(work));
      },
      boost::asio::detached);
}

Awaitable<bool> JobFiles::remove_upload(std::string name) {
  if (files_.in_use().has(name) || !is_plain(name)) co_return false;
  std::vector<Change> changes(1, RemoveUpload{name});
  const fs::path path = data_ / "uploads" / name;
  co_await jobs_.write(std::move(changes));
  auto work = [&path] {
    std::error_code ignored;
    fs::remove(path, ignored);
  };
  co_await pool_.run(std::move(work));
  co_return true;
}

}  // namespace wan::serve
