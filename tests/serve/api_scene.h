// What handlers of the API are given, with a store whose commits a test can refuse. No worker is started.
#pragma once

#include <fstream>
#include <iterator>
#include <memory>
#include <string>
#include <system_error>

#include "engine/serve/api/answers.h"
#include "engine/serve/api/context.h"
#include "engine/serve/retention.h"
#include "tests/serve/gated_store.h"
#include "tests/serve/on_io.h"
#include "tests/serve/queue_jobs.h"

namespace wan::serve {

class ApiScene {
 public:
  ApiScene() {
    settings.data = folder_.path();
    settings.least_free_bytes = 0;
    settings.models = {{"i2v", "/models/i2v"}};
    jobs->on_submit = [this](const JobPtr& job) { retention.submitted(job); };
    jobs->on_end = [this](const JobPtr& job) { retention.ended(job); };
    jobs->on_remove = [this](const Job& job) { retention.remove_files(job); };
  }

  template <typename T>
  T run(Awaitable<T> work) {
    return on_io(io, std::move(work));
  }
  /// The status of the answer that is thrown; 0 where none is.
  int refused(Awaitable<void> work) {
    try {
      on_io(io, std::move(work));
    } catch (const HttpError& error) {
      answer = error.answer;
      return answer.status;
    } catch (const std::system_error& error) {  // what the server makes of it
      answer = is_full_disk(error) ? no_room(Access::Form::Fal) : Answer{.status = 500};
      return answer.status;
    }
    return 0;
  }
  std::string file(const std::string& name) const {
    std::ifstream in(settings.data / name, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  std::filesystem::path write(const std::string& name, const std::string& bytes) const {
    std::ofstream(settings.data / name, std::ios::binary) << bytes;
    return settings.data / name;
  }
  size_t count(const std::string& folder) const {
    using Entries = std::filesystem::directory_iterator;
    return size_t(std::distance(Entries(settings.data / folder), Entries()));
  }

 private:
  QueueFolder folder_;

 public:
  Settings settings;
  boost::asio::io_context io;
  std::shared_ptr<Gate> gate = std::make_shared<Gate>();
  Pool pool{1};
  Access access{{.keys = {}, .listen = "127.0.0.1:8000", .public_url = {}, .cors = {}}};
  std::unique_ptr<Jobs> jobs = std::make_unique<Jobs>(
      io, std::make_unique<GatedStore>(open_sqlite(folder_.file()), gate), [](const std::string&) {});
  Files files{folder_.path(), *jobs};
  Dispatcher dispatcher{io, *jobs, in_folder(), "/bin/false", [](const std::string&) {}};
  Retention retention{io, *jobs, files, pool, options(), [](const std::string&) {}, [] {}, [](const std::string&) {}};
  ApiContext context{settings, *jobs, files, access, dispatcher};
  Answer answer;

 private:
  const Settings& in_folder() {
    settings.data = folder_.path();
    return settings;
  }
  RetentionOptions options() const {
    RetentionOptions options;
    options.data = folder_.path();
    return options;
  }
};

}  // namespace wan::serve
