// The server's end at any moment: what was accepted is there, what ended does not run again.
#include <gtest/gtest.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <map>
#include <random>
#include <sstream>
#include <string_view>
#include <thread>

#include "engine/serve/queue/jobs.h"
#include "engine/serve/queue/sqlite.h"
#include "tests/serve/on_io.h"
#include "tests/serve/queue_jobs.h"

extern char** environ;

namespace wan::serve {
namespace {

constexpr char kFolder[] = "WAN_QUEUE_CRASH_FOLDER";
constexpr char kChild[] = "QueueChild.SubmitsUntilItIsKilled";

void say(const std::string& line) {
  if (write(STDERR_FILENO, line.data(), line.size()) != ssize_t(line.size())) _exit(9);
}

/// Submits, says which jobs it was told are kept, ends every other one, and says which it saw ended.
Awaitable<void> client(Jobs& jobs) {
  for (int i = 0;; ++i) {
    Job job = a_job();
    const JobPtr live = co_await jobs.submit(std::move(job));
    say("queued " + live->job.id + "\n");
    if (i % 2 == 0) continue;
    jobs.begin(live, "batch");
    jobs.running(live);
    jobs.log(live, "INFO", "works");
    jobs.done(live, {"out.mp4", 10, 1, "a cat", 2});
    while (!is_ended(live->job.status)) co_await jobs.changed(live, live->version, std::chrono::seconds(60));
    say("done " + live->job.id + "\n");
  }
}

/// The process that is killed: this program, with a variable set.
TEST(QueueChild, SubmitsUntilItIsKilled) {
  const char* folder = std::getenv(kFolder);
  if (!folder) GTEST_SKIP() << "the other process of Queue.LosesNothingWhenItIsKilled";
  boost::asio::io_context io;
  Jobs jobs(io, open_sqlite(std::filesystem::path(folder) / "jobs.sqlite"), [](const std::string& line) { say(line); });
  say("opened\n");
  for (int i = 0; i < 16; ++i) {
    boost::asio::co_spawn(io, client(jobs), [](std::exception_ptr error) {
      if (error) std::rethrow_exception(error);
    });
  }
  io.run();
}

struct Child {
  pid_t pid = -1;
  int output = -1;
};

Child start(const std::filesystem::path& folder) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) throw std::runtime_error("no pipe");
  const std::string filter = std::string("--gtest_filter=") + kChild, variable = kFolder + ("=" + folder.string());
  std::string program = std::filesystem::read_symlink("/proc/self/exe").string(), flag = filter, setting = variable;
  char* arguments[] = {program.data(), flag.data(), nullptr};
  std::vector<char*> variables = {setting.data()};
  // A test program that is run in parts gives a part to its child, too, which may be one without the child's test.
  for (char** one = environ; *one; ++one)
    if (!std::string_view(*one).starts_with("GTEST_")) variables.push_back(*one);
  variables.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, ends[1], STDERR_FILENO);
  posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
  Child child{.output = ends[0]};
  const int error = posix_spawn(&child.pid, program.c_str(), &actions, nullptr, arguments, variables.data());
  posix_spawn_file_actions_destroy(&actions);
  close(ends[1]);
  if (error != 0) throw std::runtime_error("no child");
  return child;
}

/// Lets it say something first, then kills it after a while; all that it said, whole lines only.
std::string killed_after(const Child& child, std::chrono::milliseconds time) {
  std::string said;
  char buffer[4096];
  std::thread killer;
  for (ssize_t got; (got = read(child.output, buffer, sizeof buffer)) > 0;) {
    said.append(buffer, size_t(got));
    if (!killer.joinable() && said.find("opened") != std::string::npos)
      killer = std::thread([&] {
        std::this_thread::sleep_for(time);
        kill(child.pid, SIGKILL);
      });
  }
  if (killer.joinable()) killer.join();
  close(child.output);
  int status = 0;
  waitpid(child.pid, &status, 0);
  EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) << said;
  return said.substr(0, said.rfind('\n') + 1);
}

TEST(Queue, LosesNothingWhenItIsKilled) {
  QueueFolder folder;
  std::mt19937 random(std::random_device{}());
  std::map<std::string, bool> told;  // ids, and whether their end was told
  for (int round = 0; round < 20; ++round) {
    std::istringstream said(killed_after(start(folder.path()), std::chrono::milliseconds(random() % 120)));
    for (std::string what, id; said >> what;) {
      if (what == "queued" && said >> id) {
        told.emplace(id, false);
      } else if (what == "done" && said >> id) {
        told[id] = true;
      }
    }
    const auto store = open_sqlite(folder.file());  // checks that it is whole
    std::map<std::string, JobStatus> unfinished;
    for (const Job& job : store->unfinished()) unfinished[job.id] = job.status;
    for (const auto& [id, has_ended] : told) {
      const auto job = store->find(id);
      ASSERT_TRUE(job) << id << " in round " << round;
      if (!has_ended) continue;
      EXPECT_EQ(job->status, JobStatus::Done) << id;
      EXPECT_EQ(unfinished.count(id), 0u) << id;
      EXPECT_EQ(store->logs(id).size(), 1u) << id;
    }
    EXPECT_TRUE(store->take_troubles().empty());
  }
  EXPECT_GT(told.size(), 20u);
  Database database(folder.file());
  Statement check = database.prepare("PRAGMA integrity_check");
  Rows rows = check.rows();
  ASSERT_TRUE(rows.next());
  EXPECT_EQ(rows.text(0), "ok");
  EXPECT_EQ(database.integer("SELECT count(*) FROM pragma_foreign_key_check"), 0);
  std::printf("20 kills: %zu jobs were accepted, and all are there\n", told.size());
}

}  // namespace
}  // namespace wan::serve
