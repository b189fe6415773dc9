#pragma once

#include <cstdint>
#include <memory>

#include "engine/http/gateway.h"
#include "engine/http/gateway_connect.h"
#include "engine/http/request.h"
#include "engine/http/upstream_record.h"
#include "engine/http/upstream_spool.h"
#include "engine/upstream/runtime.h"

namespace weir::http {

// One run of a plan: the state that its steps share. Made in the request's arena; only gateway*.cc
// know it.
class GatewayRun {
 public:
  GatewayRun(Request& request, GatewayPlan& plan);
  // The handler's task.
  Task<PhaseResult> run();

 private:
  // What comes of a step.
  struct Step {
    enum class Kind : uint8_t {
      go_on,   // the next step
      wait,    // all servers are busy: in the group's queue
      retry,   // this peer is done with: try the next
      again,   // this peer, on another connection: it did not see the request
      finish,  // `status` is the answer
    };
    Kind kind = Kind::go_on;
    int status = 0;
  };
  static Step go_on() { return Step(); }
  static Step finish_with(int status) {
    Step step;
    step.kind = Step::Kind::finish;
    step.status = status;
    return step;
  }

  // --- gateway.cc: the run as a whole
  bool waits_for_body() const;
  Task<int> prepare_body();
  Task<int> resolve();  // gateway_resolve.cc
  void use_addresses(std::vector<net::Address> addresses);
  void make_request();
  PhaseResult finish(int status);
  void log(Severity severity, std::string_view text, int error = 0);

  // --- gateway_attempt.cc: a peer, a connection, and how it ends
  Step begin_attempt();
  Step use_peer(const upstream::Selection::Peer& peer);
  Step no_peer(std::string_view why);
  Step open_connection();
  Step connect(bool kept);
  bool keeps_connections() const;
  Step judge_failure();
  Step not_processed();
  Step no_stream();
  Step another_connection();
  // This attempt failed for `why`: whether another follows.
  Step attempt_failed(NextUpstream why, int status, bool no_live_peer = false);
  bool may_try_next(NextUpstream why) const;
  bool budget_allows();
  // The body that was sent so far can be sent again.
  bool can_replay() const { return !streaming_ || (plan_.multiplexed && !replay_lost_); }
  Step client_left();
  void end_attempt(upstream::Selection::Result result);
  void drop_connection();
  void release_connection();
  void update_counts();

  // --- gateway_request.cc: what is sent, until the response head is here
  Task<Step> exchange_heads();
  // False: the connection has no stream for us any more.
  bool send_request_head();
  // Hands request body to the connection. A status when the client's body is broken.
  int send_body();
  int send_streamed();
  void keep_for_replay(const Chain& data);
  void pass_interim();
  // Milliseconds until `limit` since something moved either way; 0: it has passed. Asked while the
  // peer is waited for; wait_for_client() says when it is not.
  uint64_t time_left(int64_t limit);
  void wait_for_client() { timed_ = false; }
  bool past_deadline() const;
  // The sooner of `milliseconds` (0: never) and the plan's deadline, for waits.
  uint64_t until_deadline(uint64_t milliseconds) const;

  // --- gateway_response.cc: the head
  Step judge_status();
  bool may_pass_on(NextUpstream why);
  // Fills the response. False with `redirected_` set for X-Accel-Redirect.
  bool take_head();
  void take_field(const Header& header);
  void take_accel(const Header& header);
  PhaseResult accel_redirect(std::string_view target);

  // --- gateway_sticky.cc: clients that stay with a server; only where the group is `sticky`
  // The server that this request is bound to.
  void find_binding(upstream::Subject& subject);
  // The response head goes to the client: so does a cookie, or a session begins.
  void bind_client();
  void learn_session();
  void set_sticky_cookie(const upstream::StickyPolicy& policy, std::string_view server);

  // --- gateway_queue.cc: where the group has a `queue`
  Task<Step> wait_in_queue();

  // --- gateway_relay.cc: the body
  Task<PhaseResult> relay();
  // The last of an answer: all that is left goes out at once.
  PhaseResult finish_whole(Chain data);
  void spool(Chain&& data);
  bool forward_stored();
  bool has_room() const;
  void take_trailers();
  std::string_view reset_reason();
  PhaseResult truncated();
  PhaseResult finish_broken(int status);
  // The response was longer than it said.
  void note_surplus();
  uint64_t rate_delay();
  PhaseResult begin_tunnel();
  Task<PhaseResult> bridge();

  Request& request_;
  GatewayPlan& plan_;
  const GatewaySettings& settings_;
  Worker& worker_;
  UpstreamRecord& record_;
  std::unique_ptr<upstream::Cluster> resolved_;  // made at run time
  const upstream::Cluster* cluster_ = nullptr;
  std::unique_ptr<upstream::Selection> selection_;
  UpstreamConnection* connection_ = nullptr;  // the pool's; while exchange_ is a lease of it
  UpstreamExchange* exchange_ = nullptr;
  net::Address peer_;
  ConnectionNames names_;
  MessageHead head_;
  Chain body_;                 // the whole body, kept for replays
  Chain replay_;               // streamed: what was sent of it, until the response begins
  Chain resend_;               // of replay_, what this attempt has not sent yet
  bool replay_lost_ = false;   // it grew too large
  bool judged_ = false;        // the response head decided: no other attempt
  bool streaming_ = false;     // the body is sent while it comes
  bool body_given_ = false;    // all of it is with the codec
  size_t body_owed_ = 0;       // streamed bytes the client gets credit for when they are written
  bool joined_ = false;        // the connection came from the pool
  bool cached_ = false;        // and was ready
  bool request_sent_ = false;  // a byte of it may have reached a peer
  bool buffering_ = false;
  bool retry_granted_ = false;  // by the budget, and not used yet
  bool accepted_ = false;       // the response's body is wanted
  bool may_keep_ = true;        // as the request says
  bool timed_ = false;          // the peer is waited for since moved_at_ at the earliest
  uint8_t refusals_ = 0;        // attempts that the peer did not process
  uint8_t lost_ = 0;            // of them, where the connection takes nothing more
  uint8_t closed_ = 0;          // attempts on kept connections that were closed
  uint64_t first_started_ = 0;
  uint64_t attempt_started_ = 0;
  uint64_t sent_ = 0;      // bytes, at the last look
  uint64_t received_ = 0;  // the same
  uint64_t moved_at_ = 0;  // when those changed
  uint64_t head_bytes_ = 0;
  uint64_t rate_ = 0;
  uint64_t relayed_ = 0;
  uint64_t relay_started_ = 0;
  // A session may begin at the end of this answer, bound to this server.
  const upstream::Selection::StickyName* learning_ = nullptr;
  Chain stored_;  // body bytes the client cannot take yet
  Spool spool_;
};

}  // namespace weir::http
