// wan-serve as its operator starts it: what it refuses, what it answers, how it ends.
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "engine/serve/queue/sqlite.h"
#include "tests/serve/serve_process.h"

namespace wan::serve {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

const std::string kSubmit = "/queue/fal-ai/wan/v2.2-a14b/text-to-video", kRequests = "/queue/fal-ai/wan/requests/";

/// The id of a job that was accepted.
std::string submit(const ServeProcess& server, const std::string& query = "", const std::string& headers = "") {
  const Reply reply = server.call("POST", kSubmit + query, headers + "Content-Type: application/json\r\n",
                                  R"({"prompt": "a cat", "num_frames": 17})");
  EXPECT_EQ(reply.status, 200) << reply.body;
  return reply.status == 200 ? reply.json().value("request_id", "") : "";
}

/// Starts it for what ends at once: the exit code and stderr.
std::pair<int, std::string> ended(const ServeFolder& folder, const std::vector<std::string>& words) {
  ServeProcess process(folder, words);
  const int code = process.finish();
  return {code, process.err()};
}

TEST(ServeProgram, ServesAJobAndKeepsItOverARestart) {
  const ServeFolder folder;
  std::string id;
  {
    ServeProcess server(folder, folder.flags());
    ASSERT_TRUE(server.listens()) << server.err();
    EXPECT_TRUE(server.said("wan-serve listens at http://127\\.0\\.0\\.1:[0-9]+ \\(page at /\\), 1 worker on cpu\n"))
        << server.err();
    EXPECT_EQ(server.call("GET", "/health").json(), json({{"status", "ok"}}));
    ASSERT_TRUE(server.until("/ready", 200)) << server.err();
    EXPECT_NE(server.call("GET", "/").body.find("<html"), std::string::npos);
    id = submit(server);
    ASSERT_TRUE(server.until(kRequests + id + "/status", 200));
    EXPECT_TRUE(server.said("job=" + id + " queued endpoint=fal-ai/wan/v2.2-a14b/text-to-video\n")) << server.err();
    EXPECT_TRUE(server.said("job=" + id + " done\n")) << server.err();
    const Reply result = server.call("GET", kRequests + id);
    ASSERT_EQ(result.status, 200) << result.body;
    const std::string url = result.json()["video"]["url"];
    EXPECT_EQ(server.call("GET", url.substr(url.find("/files/"))).body, "video of " + id);
    const std::string metrics = server.call("GET", "/metrics").body;
    for (const char* line : {"wan_jobs_ended_total{status=\"done\"} 1\n", "wan_job_work_seconds_count 1\n",
                             "wan_http_answers_total{status=\"200\"}", "wan_worker_state{device=\"cpu\"",
                             "# TYPE wan_job_wait_seconds histogram\n", "wan_queue_paused 0\n"})
      EXPECT_NE(metrics.find(line), std::string::npos) << line << "\n" << metrics;
    server.signal(SIGTERM);
    EXPECT_EQ(server.finish(), 0) << server.err();
  }
  ServeProcess server(folder, folder.flags());
  ASSERT_TRUE(server.listens()) << server.err();
  EXPECT_EQ(server.call("GET", kRequests + id).status, 200);
  server.signal(SIGINT);
  EXPECT_EQ(server.finish(), 0);
}

TEST(ServeProgram, WrongFlagsAreToldAtOnce) {
  const ServeFolder folder;
  const auto [code, told] = ended(folder, {"--data", folder / "data", "--rate", "x", "--lisen", "1"});
  EXPECT_EQ(code, 2);
  for (const char* line : {"wan-serve: [--lisen] ", "wan-serve: [--rate] ", "wan-serve: [--model] is required"})
    EXPECT_NE(told.find(line), std::string::npos) << told;
  EXPECT_FALSE(fs::exists(folder / "data"));
}

TEST(ServeProgram, TheDataFolderIsItsOwn) {
  const ServeFolder folder;
  const auto refused = [&](const std::string& why) {
    const auto [code, told] = ended(folder, folder.flags());
    EXPECT_EQ(code, 2) << told;
    EXPECT_TRUE(told.starts_with("wan-serve: [--data] ")) << told;
    EXPECT_NE(told.find(why), std::string::npos) << told;
    EXPECT_EQ(told.find("listens"), std::string::npos) << told;
  };
  std::ofstream(folder / "data") << "a file";
  refused("which is none");
  fs::remove(folder / "data");
  fs::create_directory(folder / "data");
  fs::permissions(folder / "data", fs::perms(0755));
  refused("chmod 700");
  fs::permissions(folder / "data", fs::perms(0700));
  std::ofstream(folder / "data/letter.txt") << "dear";
  refused("name another folder");
  fs::remove(folder / "data/letter.txt");
  std::ofstream(folder / "data/jobs.sqlite")
      << "this is no database, and longer than its head would be: " << std::string(500, 'x');
  refused("jobs.sqlite");
  fs::remove_all(folder / "data");

  ServeProcess server(folder, folder.flags());
  ASSERT_TRUE(server.listens()) << server.err();
  struct stat status = {};
  ASSERT_EQ(stat((folder / "data").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0700u);
  refused("");  // it is in use
  EXPECT_EQ(server.call("GET", "/health").status, 200);
}

TEST(ServeProgram, ADamagedDatabaseIsToldAndChangedNoMore) {
  const ServeFolder folder;
  std::string id;
  {
    ServeProcess server(folder, folder.flags());
    ASSERT_TRUE(server.listens()) << server.err();
    id = submit(server);
    ASSERT_TRUE(server.until(kRequests + id + "/status", 200));
    server.signal(SIGTERM);
    ASSERT_EQ(server.finish(), 0) << server.err();
  }
  const std::string file = folder / "data/jobs.sqlite";
  int64_t page = 0, bytes = 0;
  {
    Database database(file);
    page = database.integer("SELECT rootpage FROM sqlite_schema WHERE name = 'uploads_of_owner'");
    bytes = database.integer("PRAGMA page_size");
  }
  {
    std::fstream out(file, std::ios::in | std::ios::out | std::ios::binary);
    out.seekp((page - 1) * bytes);
    out.write(std::string(64, '\xA5').data(), 64);
  }
  ServeProcess server(folder, folder.flags());
  ASSERT_TRUE(server.listens()) << server.err();
  ASSERT_TRUE(server.said("the database is damaged \\(.*restore 'jobs.sqlite' from a copy")) << server.err();
  const Reply ready = server.call("GET", "/ready");
  EXPECT_EQ(ready.status, 503);
  EXPECT_NE(ready.body.find("the database is damaged"), std::string::npos) << ready.body;
  const Reply refused = server.call("POST", kSubmit, "", R"({"prompt": "a cat"})");
  EXPECT_EQ(refused.status, 503) << refused.body;
  EXPECT_EQ(server.call("GET", "/health").status, 200);
  EXPECT_EQ(server.call("GET", kRequests + id).status, 200) << "what can be read is answered";
}

/// Gives the process a disk of its own at `folder`, of so many MB. False where the system does not let it.
bool mount_disk(const std::string& folder, int megabytes) {
  const bool is_root = geteuid() == 0;
  const std::string map = "0 " + std::to_string(geteuid()) + " 1";
  if (unshare(CLONE_NEWNS | (is_root ? 0 : CLONE_NEWUSER)) != 0) return false;
  if (!is_root) {
    std::ofstream("/proc/self/setgroups") << "deny";
    std::ofstream("/proc/self/uid_map") << map;
  }
  const std::string options = "mode=700,size=" + std::to_string(megabytes) + "m";
  return mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0 &&
         mount("tmpfs", folder.c_str(), "tmpfs", 0, options.c_str()) == 0;
}

TEST(ServeProgram, AnUploadThatFillsTheDiskIsToBeSentLater) {
  const ServeFolder folder;
  const std::string data = folder / "data";
  fs::create_directory(data);
  ServeProcess server(folder, folder.flags({"--least-free", "1M"}), [&] { return mount_disk(data, 72); });
  if (!server.listens()) {
    if (server.err().empty() && server.finish() == ServeProcess::kNotPossible)
      GTEST_SKIP() << "no disk of its own can be mounted here";
    FAIL() << server.err();
  }
  // Its length is not told, so that the room is not looked at before.
  std::string body;
  const std::string piece(1 << 20, 'x');
  for (int i = 0; i < 80; ++i) body += "100000\r\n" + piece + "\r\n";
  body += "0\r\n\r\n";
  const Reply full = server.call("POST", "/files/upload", "Transfer-Encoding: chunked\r\n", body);
  EXPECT_EQ(full.status, 503) << full.body;
  EXPECT_NE(full.head.find("Retry-After: "), std::string::npos) << full.head;
  EXPECT_NE(full.json().value("detail", "").find("disk is full"), std::string::npos) << full.body;
  const fs::path parts = "/proc/" + std::to_string(server.process()) + "/root" + data + "/parts";
  ASSERT_TRUE(fs::exists(parts));
  EXPECT_TRUE(fs::is_empty(parts)) << "what came of it is gone";
  EXPECT_EQ(server.call("POST", "/files/upload", "", "small").status, 200);
}

TEST(ServeProgram, RefusalsBelowWaveSpeedsPathHaveItsForm) {
  const ServeFolder folder;
  ServeProcess server(folder, folder.flags());
  ASSERT_TRUE(server.listens()) << server.err();
  const auto expect = [&](const std::string& method, const std::string& path, int status,
                          const std::string& body = "") {
    const Reply reply = server.call(method, path, "", body);
    EXPECT_EQ(reply.status, status) << path;
    const json answer = reply.json();
    ASSERT_TRUE(answer.is_object()) << reply.body;
    EXPECT_EQ(answer.value("code", 0), status) << reply.body;
    EXPECT_FALSE(answer.value("message", "").empty()) << reply.body;
    EXPECT_FALSE(answer.contains("detail")) << reply.body;
    EXPECT_NE(reply.head.find("application/json"), std::string::npos);
  };
  expect("GET", "/api/v3/no-such", 404);
  expect("POST", "/api/v3/wavespeed-ai/no-such/model", 404, "{}");
  expect("DELETE", "/api/v3/predictions/x", 405);
  expect("POST", "/api/v3/wavespeed-ai/wan-2.2/speech-to-video", 404, "{}");  // no model for it
  expect("PUT", "/api/v3/media/put/files/uploads/x", 403);
  EXPECT_EQ(server.call("GET", "/no-such").json(), json({{"detail", "Not Found"}}));
}

TEST(ServeProgram, APortThatIsTakenAndAWorkerThatIsMissingAreTold) {
  const ServeFolder folder;
  ServeProcess server(folder, folder.flags());
  ASSERT_TRUE(server.listens()) << server.err();
  auto [code, told] = ended(folder, {"--data", folder / "other", "--model", "t2v=" + folder / "model", "--device",
                                     "cpu", "--listen", "127.0.0.1:" + std::to_string(server.port())});
  EXPECT_EQ(code, 2);
  EXPECT_TRUE(told.starts_with("wan-serve: [--listen] ")) << told;
  fs::remove(folder / "bin/wan-engine");
  std::tie(code, told) = ended(folder, {"--data", folder / "third", "--model", "t2v=" + folder / "model", "--device",
                                        "cpu", "--listen", "127.0.0.1:0"});
  EXPECT_EQ(code, 1);
  EXPECT_NE(told.find("[wan-engine] must lie beside wan-serve"), std::string::npos) << told;
}

TEST(ServeProgram, KeysAreAskedForAndReadAgain) {
  const ServeFolder folder;
  const auto add = [&](const std::string& name, const std::vector<std::string>& more = {}) {
    std::vector<std::string> words = {"key", "add", name, "--keys", folder / "keys.json"};
    words.insert(words.end(), more.begin(), more.end());
    ServeProcess process(folder, words);
    EXPECT_EQ(process.finish(), 0) << process.err();
    const std::string key = process.out();
    return key.substr(0, key.find('\n'));
  };
  const auto header = [](const std::string& key) { return "Authorization: Key " + key + "\r\n"; };
  const std::string anna = add("anna"), ben = add("ben", {"--video-seconds", "1"});
  ServeProcess server(folder, folder.flags({"--keys", folder / "keys.json"}));
  ASSERT_TRUE(server.listens()) << server.err();
  EXPECT_EQ(server.call("GET", "/health").status, 200);
  EXPECT_EQ(server.call("GET", kRequests + "x/status").status, 401);
  EXPECT_EQ(server.call("GET", kRequests + "x/status", header("other")).status, 401);
  EXPECT_EQ(server.call("GET", kRequests + "x/status", header(anna)).status, 404);
  // Jobs belong to their key; a quota that is used up is no reason to try again.
  const std::string id = submit(server, "", header(anna));
  EXPECT_EQ(server.call("GET", kRequests + id + "/status", header(ben)).status, 404);
  EXPECT_NE(server.call("GET", kRequests + id + "/status", header(anna)).status, 404);
  const Reply too_much = server.call("POST", kSubmit, header(ben), R"({"prompt": "a cat"})");
  EXPECT_EQ(too_much.status, 403) << too_much.body;
  EXPECT_EQ(server.err().find(anna), std::string::npos);

  // Metrics: from here without a key, but not for whom a proxy stands.
  EXPECT_EQ(server.call("GET", "/metrics").status, 200);
  EXPECT_EQ(server.call("GET", "/metrics", "X-Forwarded-For: 192.0.2.7\r\n").status, 401);
  EXPECT_EQ(server.call("GET", "/metrics", "X-Forwarded-For: 192.0.2.7\r\n" + header(anna)).status, 200);

  ServeProcess remove(folder, {"key", "remove", "anna", "--keys", folder / "keys.json"});
  EXPECT_EQ(remove.finish(), 0);
  server.signal(SIGHUP);
  ASSERT_TRUE(server.said("read again: 1 key")) << server.err();
  EXPECT_EQ(server.call("GET", kRequests + "x/status", header(anna)).status, 401);
  EXPECT_EQ(server.call("GET", kRequests + "x/status", header(ben)).status, 404);
  std::ofstream(folder / "keys.json") << "{";
  server.signal(SIGHUP);
  ASSERT_TRUE(server.said("the keys stay as they were")) << server.err();
  EXPECT_EQ(server.call("GET", kRequests + "x/status", header(ben)).status, 404);
  EXPECT_EQ(server.call("GET", kRequests + "x/status").status, 401);
}

TEST(ServeProgram, UploadsStayAsTheyCameAndKeepTheirType) {
  const ServeFolder folder;
  ServeProcess server(folder, folder.flags());
  ASSERT_TRUE(server.listens()) << server.err();
  const auto path = [](const std::string& url) { return url.substr(url.find('/', url.find("://") + 3)); };
  const json urls = server
                        .call("POST", "/storage/upload/initiate", "Content-Type: application/json\r\n",
                              R"({"file_name": "a.avif", "content_type": "image/avif"})")
                        .json();
  const std::string put = path(urls.at("upload_url")), get = path(urls.at("file_url"));
  EXPECT_EQ(server.call("PUT", put, "", "first").status, 200);
  EXPECT_EQ(server.call("PUT", put, "", "first").status, 200) << "a client that asks again";
  for (const char* other : {"other", "longer than before"}) EXPECT_EQ(server.call("PUT", put, "", other).status, 403);
  const Reply kept = server.call("GET", get);
  EXPECT_EQ(kept.body, "first");
  EXPECT_NE(kept.head.find("Content-Type: image/avif"), std::string::npos) << kept.head;
  EXPECT_NE(kept.head.find("sandbox"), std::string::npos) << kept.head;
  for (const char* type : {"text/html", "image/svg+xml"}) {
    const json sent = server.call("POST", "/files/upload", std::string("Content-Type: ") + type + "\r\n", "<x>").json();
    const Reply text = server.call("GET", path(sent.at("access_url")));
    EXPECT_NE(text.head.find("Content-Type: application/octet-stream"), std::string::npos) << text.head;
    EXPECT_NE(text.head.find("attachment"), std::string::npos) << text.head;
  }
}

TEST(ServeProgram, ForeignHostsAndOriginsAreRefused) {
  const ServeFolder folder;
  ServeProcess server(folder, folder.flags({"--cors", "http://localhost:3000"}));
  ASSERT_TRUE(server.listens()) << server.err();
  EXPECT_EQ(server.call("GET", "/health", "Host: evil.example\r\n").status, 403);
  const Reply foreign = server.call("POST", kSubmit, "Origin: http://evil.example\r\n", R"({"prompt": "a"})");
  EXPECT_EQ(foreign.status, 403);
  EXPECT_TRUE(foreign.json()["detail"].is_string());
  const Reply allowed = server.call("POST", kSubmit, "Origin: http://localhost:3000\r\n", R"({"prompt": "a"})");
  EXPECT_EQ(allowed.status, 200) << allowed.body;
  EXPECT_NE(allowed.head.find("Access-Control-Allow-Origin: http://localhost:3000"), std::string::npos) << allowed.head;
  const Reply asked = server.call("OPTIONS", kSubmit,
                                  "Origin: http://localhost:3000\r\nAccess-Control-Request-Method: POST\r\n"
                                  "Access-Control-Request-Headers: authorization,x-fal-queue-priority\r\n");
  EXPECT_EQ(asked.status, 204);
  EXPECT_NE(asked.head.find("x-fal-queue-priority"), std::string::npos) << asked.head;
}

TEST(ServeProgram, TheCertificateOfItsOwnIsMadeOnce) {
  const ServeFolder folder;
  std::string certificate;
  for (int i = 0; i < 2; ++i) {
    ServeProcess server(folder, folder.flags({"--tls-self-signed"}));
    ASSERT_TRUE(server.said("listens at https://")) << server.err();
    const std::string made = bytes_of(folder / "data/certificate.pem");
    EXPECT_NE(made.find("PRIVATE KEY"), std::string::npos);
    EXPECT_TRUE(certificate.empty() || certificate == made);
    certificate = made;
    server.signal(SIGTERM);
    EXPECT_EQ(server.finish(), 0);
  }
}

TEST(ServeProgram, LogsAreJsonWhereThatIsWanted) {
  const ServeFolder folder;
  ServeProcess server(folder, folder.flags({"--log-format", "json"}));
  ASSERT_TRUE(server.listens()) << server.err();
  server.signal(SIGTERM);
  EXPECT_EQ(server.finish(), 0);
  std::istringstream lines(server.err());
  int count = 0;
  for (std::string line; std::getline(lines, line); ++count) {
    const json read = json::parse(line, nullptr, false);
    EXPECT_TRUE(read.is_object() && read.contains("time") && read.contains("text")) << line;
  }
  EXPECT_GE(count, 2);
}

}  // namespace
}  // namespace wan::serve
