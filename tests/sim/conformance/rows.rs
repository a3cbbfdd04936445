//! The rows of the requirements, and the tests that prove each. A test of the program `sim` is named by its module, any other one
//! by its file.

use super::{Row, Section};

#[rustfmt::skip]
pub const SECTIONS: &[Section] = &[
    Section {
        title: "Forwarding (RFC 1812, 1191, 791, 792)",
        rows: &[
            Row {
                number: 1,
                requirement: "Bad version, IHL < 5, bad header checksum, total length beyond the frame: dropped; trailing padding is cut",
                proof: &[
                    "forwarding::a_header_that_lies_is_dropped",
                    "forwarding::a_frame_cut_anywhere_is_dropped",
                    "forwarding::padding_behind_the_packet_is_cut",
                ],
                further: &[],
            },
            Row {
                number: 2,
                requirement: "TTL is lowered; at 0: dropped, ICMP 11/0, not for multicast",
                proof: &[
                    "forwarding::ttl_of_one_is_answered_with_time_exceeded",
                    "forwarding::ttl_of_two_reaches_the_next_hop",
                    "forwarding::multicast_is_not_forwarded_and_not_answered",
                ],
                further: &[],
            },
            Row {
                number: 3,
                requirement: "The header checksum is right after every rewrite",
                proof: &[
                    "forwarding::the_header_checksum_is_right_for_every_ttl",
                    "nat::a_masqueraded_packet_has_the_outer_source_and_the_answer_finds_back",
                    "offload::a_super_frame_is_cut_where_the_card_does_not",
                ],
                further: &[],
            },
            Row {
                number: 4,
                requirement: "Longest prefix, then lowest metric; no route: 3/0; blackhole, unreachable, prohibit",
                proof: &[
                    "forwarding::the_longest_prefix_wins",
                    "forwarding::of_equal_prefixes_the_lowest_metric_wins",
                    "forwarding::no_route_is_answered_with_net_unreachable",
                    "forwarding::routes_that_drop_say_what_their_type_says",
                    "policy::a_rule_sends_by_source_destination_interface_and_mark_to_a_table",
                    "policy::rules_that_refuse_say_how",
                    "policy::flows_are_shared_out_and_stay_with_their_uplink",
                ],
                further: &[],
            },
            Row {
                number: 5,
                requirement: "Neighbour failure: 3/1 for every packet that was parked (within the rate limit of row 8)",
                proof: &[
                    "arp::a_silent_neighbour_makes_every_waiting_packet_host_unreachable",
                    "network::a_host_that_is_not_there_is_reported_by_the_last_router",
                ],
                further: &[],
            },
            Row {
                number: 6,
                requirement: "DF and too large: 3/4 with the MTU; DF clear: fragments, also of fragments",
                proof: &[
                    "forwarding::df_and_too_large_is_answered_with_the_mtu",
                    "forwarding::a_large_packet_is_fragmented_for_a_small_mtu",
                    "forwarding::fragments_are_fragmented_again",
                    "network::df_and_a_smaller_wire_in_the_middle_is_reported_with_its_mtu",
                    "offload::segments_that_are_too_long_for_the_way_are_reported",
                    "offload::segments_that_may_be_fragmented_are_fragmented_one_by_one",
                ],
                further: &[],
            },
            Row {
                number: 7,
                requirement: "Transit is not reassembled, except virtually for ports",
                proof: &[
                    "forwarding::transit_fragments_are_not_reassembled",
                ],
                further: &[
                    "netstack/src/table/fragments.rs::what_comes_before_the_first_fragment_waits_for_it",
                ],
            },
            Row {
                number: 8,
                requirement: "No ICMP error about errors, broadcast, later fragments, impossible sources; rate-limited; within 576 bytes",
                proof: &[
                    "icmp::no_error_is_sent_about_an_error",
                    "icmp::no_error_is_sent_about_a_broadcast_or_multicast",
                    "icmp::no_error_is_sent_about_a_later_fragment",
                    "icmp::errors_are_rate_limited_for_each_destination",
                    "icmp::an_error_quotes_much_but_stays_within_576_bytes",
                ],
                further: &[],
            },
            Row {
                number: 9,
                requirement: "Martian sources and destinations; strict reverse path",
                proof: &[
                    "forwarding::sources_that_can_be_no_sender_are_martians",
                    "forwarding::destinations_that_are_on_no_wire_are_martians",
                    "forwarding::a_source_whose_way_back_is_another_interface_fails_the_strict_check",
                    "forwarding::the_loose_check_asks_only_for_some_way_back",
                    "policy::the_strict_reverse_path_follows_the_rules",
                ],
                further: &[],
            },
            Row {
                number: 10,
                requirement: "Directed broadcast off; unicast IP in a broadcast frame is not forwarded",
                proof: &[
                    "forwarding::a_directed_broadcast_is_not_forwarded",
                    "forwarding::a_unicast_packet_in_a_broadcast_frame_is_not_forwarded",
                ],
                further: &[],
            },
            Row {
                number: 11,
                requirement: "Source routes dropped, other options forwarded, redirects ignored, no source quench",
                proof: &[
                    "forwarding::source_routes_are_dropped_and_other_options_forwarded",
                    "forwarding::a_redirect_changes_no_route",
                    "icmp::a_source_quench_is_never_sent",
                ],
                further: &[],
            },
            Row {
                number: 12,
                requirement: "Echo answered on every local address, from every side",
                proof: &[
                    "icmp::an_echo_request_is_answered_on_every_address_from_every_side",
                ],
                further: &[],
            },
        ],
    },
    Section {
        title: "ARP (RFC 826, 1122, 5227)",
        rows: &[
            Row {
                number: 13,
                requirement: "Own addresses answered on their interface only; group MAC senders ignored",
                proof: &[
                    "arp::own_addresses_are_answered_on_their_interface_only",
                    "arp::a_sender_with_a_group_mac_is_ignored",
                ],
                further: &[],
            },
            Row {
                number: 14,
                requirement: "One request per second and destination; at least 3 packets parked; all bounded",
                proof: &[
                    "arp::one_destination_is_asked_for_once_in_a_second",
                    "arp::at_least_three_packets_wait_in_order_and_their_number_is_bounded",
                    "arp::packets_for_many_silent_neighbours_do_not_use_up_the_buffers",
                ],
                further: &[],
            },
            Row {
                number: 15,
                requirement: "Reachable, stale, probe (unicast first), failed; static entries never change",
                proof: &[
                    "arp::an_old_entry_is_probed_by_unicast_and_kept_in_use_meanwhile",
                    "arp::an_entry_that_nobody_confirms_fails",
                    "arp::a_static_entry_never_changes",
                ],
                further: &[],
            },
            Row {
                number: 16,
                requirement: "RFC 826 merge; never created by an unsolicited reply; gratuitous updates only",
                proof: &[
                    "arp::a_request_for_us_teaches_its_sender",
                    "arp::an_unsolicited_reply_creates_nothing",
                    "arp::a_gratuitous_message_updates_what_exists_and_creates_nothing",
                ],
                further: &[],
            },
            Row {
                number: 17,
                requirement: "Own addresses probed, announced, defended at most once in 10 s",
                proof: &[
                    "arp::a_new_address_is_probed_and_then_announced",
                    "arp::an_address_is_defended_at_most_once_in_ten_seconds",
                ],
                further: &[
                    "netstack/src/table/address_claims.rs::a_new_address_is_probed_three_times_and_announced_twice",
                    "netstack/src/table/address_claims.rs::defends_at_most_once_in_ten_seconds",
                ],
            },
        ],
    },
    Section {
        title: "NAPT: UDP (RFC 4787), TCP (5382), ICMP (5508), all (7857, 6888, 6056)",
        rows: &[
            Row {
                number: 18,
                requirement: "UDP: one inner endpoint keeps one outer port for all destinations",
                proof: &[
                    "nat_ports::one_inner_port_of_udp_keeps_one_outer_port_for_all_destinations",
                ],
                further: &[
                    "linux/stun.rs::a_stun_client_finds_the_mapping_the_filtering_and_the_hairpin",
                ],
            },
            Row {
                number: 19,
                requirement: "TCP likewise; ports are shared between destinations when they run out; the range is settable",
                proof: &[
                    "nat_ports::one_inner_port_of_tcp_keeps_one_outer_port_for_all_destinations",
                    "nat_ports::ports_of_tcp_are_shared_between_destinations_when_they_run_out",
                    "nat_ports::more_connections_than_ports_are_possible",
                    "nat_ports::replacements_come_from_the_local_port_range",
                ],
                further: &[],
            },
            Row {
                number: 20,
                requirement: "The original port where it is free, else a random one; > 1023 stays > 1023",
                proof: &[
                    "nat_ports::the_original_port_is_kept_where_it_is_free",
                    "nat_ports::a_port_that_is_taken_is_replaced_at_random_and_never_in_sequence",
                ],
                further: &[
                    "netstack/src/stage/nat.rs::a_taken_port_is_replaced_by_a_random_one_of_its_own_class",
                ],
            },
            Row {
                number: 21,
                requirement: "Filtering is address-and-port-dependent, or endpoint-independent where it is chosen",
                proof: &[
                    "nat::an_answer_from_elsewhere_does_not_pass",
                    "nat::with_full_cone_anybody_outside_reaches_a_port_that_is_held",
                ],
                further: &[
                    "linux/stun.rs::a_stun_client_finds_the_mapping_the_filtering_and_the_hairpin",
                ],
            },
            Row {
                number: 22,
                requirement: "Hairpinning with the outer source",
                proof: &[
                    "nat::an_inner_host_reaches_another_through_the_outer_address_and_sees_the_outer_source",
                ],
                further: &[
                    "netstack/src/pipeline/tests.rs::an_inner_host_reaches_another_by_its_outer_endpoint",
                    "linux/stun.rs::a_stun_client_finds_the_mapping_the_filtering_and_the_hairpin",
                ],
            },
            Row {
                number: 23,
                requirement: "Timers, all settable; only outbound traffic refreshes; a connection ended by a reset lives 10 s",
                proof: &[
                    "tracking::an_unanswered_udp_mapping_lives_two_minutes",
                    "tracking::an_assured_udp_mapping_lives_five_minutes",
                    "tracking::an_established_connection_lives_two_hours_and_four_minutes",
                    "tracking::a_connection_that_opens_or_closes_lives_four_minutes",
                    "tracking::an_icmp_mapping_lives_a_minute",
                    "tracking::the_timers_can_be_set",
                    "tracking::only_outbound_traffic_refreshes_a_mapping",
                    "tracking::an_error_or_a_reset_from_outside_refreshes_nothing",
                ],
                further: &[],
            },
            Row {
                number: 24,
                requirement: "Simultaneous open; an unsolicited SYN gets no answer at once",
                proof: &[
                    "tracking::both_ends_may_open_a_connection_at_once",
                    "tracking::an_unsolicited_syn_gets_no_answer_at_once",
                ],
                further: &[],
            },
            Row {
                number: 25,
                requirement: "ICMP errors translated in both directions with what they quote; a quote that does not match is dropped; nothing is deleted",
                proof: &[
                    "nat_icmp::an_error_from_outside_is_translated_with_its_quote",
                    "nat_icmp::an_error_from_inside_is_translated_with_its_quote",
                    "nat_icmp::an_error_with_the_least_quote_is_translated",
                    "nat_icmp::an_error_whose_quote_fits_no_mapping_goes_nowhere",
                    "nat_icmp::errors_delete_no_mapping",
                ],
                further: &[],
            },
            Row {
                number: 26,
                requirement: "ICMP identifiers are mapped like ports",
                proof: &[
                    "nat_icmp::an_echo_request_passes_and_its_reply_finds_back",
                    "nat_icmp::two_hosts_with_one_identifier_never_collide",
                ],
                further: &[],
            },
            Row {
                number: 27,
                requirement: "UDP checksum 0 stays 0; a wrong one leaves wrong",
                proof: &[
                    "nat::a_udp_checksum_of_zero_stays_zero",
                    "nat::a_udp_checksum_that_becomes_zero_is_written_as_all_ones",
                    "nat::a_wrong_checksum_leaves_as_wrong_as_it_came",
                ],
                further: &[],
            },
            Row {
                number: 28,
                requirement: "Fragments, also out of order, are translated; what stays incomplete times out",
                proof: &[
                    "nat_fragments::fragments_are_translated_in_every_order",
                    "nat_fragments::fragments_for_a_forwarded_port_reach_its_server_in_every_order",
                    "nat_fragments::fragments_whose_first_one_never_comes_are_given_up",
                    "nat_fragments::fragments_of_a_datagram_that_the_rules_refuse_do_not_pass",
                ],
                further: &[],
            },
            Row {
                number: 29,
                requirement: "Nothing with an inner source leaves the outer side",
                proof: &[
                    "nat::nothing_with_an_inner_source_ever_leaves_the_outer_side",
                    "nat::nothing_with_an_inner_source_leaves_while_rules_change",
                ],
                further: &[
                    "netstack/src/pipeline/tests.rs::a_flow_that_began_without_translation_does_not_go_on_without_it",
                ],
            },
            Row {
                number: 30,
                requirement: "A change of the outer address or the egress ends the mappings that used it",
                proof: &[
                    "nat::a_change_of_the_outer_address_ends_the_mappings_that_used_it",
                    "nat::a_change_of_the_egress_interface_ends_the_mappings_that_used_the_old_one",
                    "policy::other_shares_are_for_new_flows_and_a_dead_uplink_is_left",
                ],
                further: &[],
            },
            Row {
                number: 31,
                requirement: "Ports of port-forwards and local services are never handed out to others",
                proof: &[
                    "nat_ports::ports_of_port_forwards_are_never_handed_out",
                ],
                further: &[
                    "netstack/src/stage/nat.rs::the_routers_own_sockets_keep_their_ports",
                ],
            },
        ],
    },
    Section {
        title: "Connection tracking and firewall",
        rows: &[
            Row {
                number: 32,
                requirement: "TCP states with window tracking: a reset out of window changes nothing; no ESTABLISHED without the last ACK; stray data does not refresh",
                proof: &[
                    "windows::a_reset_out_of_window_changes_nothing",
                    "windows::a_reset_out_of_window_reaches_no_inner_host_and_ends_no_translation",
                    "windows::a_reset_with_the_exact_number_closes",
                    "windows::a_reset_elsewhere_in_the_window_passes_and_the_challenge_keeps_the_connection",
                    "windows::a_blind_syn_changes_nothing_and_the_challenge_passes",
                    "windows::a_handshake_without_its_last_ack_establishes_nothing",
                    "windows::stray_data_refreshes_nothing",
                    "windows::numbers_go_round",
                    "windows::a_window_is_as_wide_as_both_ends_have_agreed_to_scale_it",
                    "windows::frames_of_64_kib_take_the_short_way_and_count_with_all_that_they_hold",
                    "windows::a_connection_picked_up_in_its_middle_goes_on_whatever_its_windows_are",
                    "windows::every_state_is_left_by_a_timeout",
                ],
                further: &[
                    "netstack/src/stage/tcp/model.rs::every_state_kind_and_direction_does_what_the_table_says",
                    "netstack/src/stage/tcp/model.rs::no_sequence_establishes_without_a_handshake_or_moves_by_what_is_out_of_window",
                    "scenarios/main.rs::packetdrill_scripts_of_linux",
                ],
            },
            Row {
                number: 33,
                requirement: "NEW, ESTABLISHED, RELATED, INVALID, DNAT, SNAT as Linux has them",
                proof: &[
                    "tracking::the_first_packet_is_new_and_the_answer_established",
                    "tracking::a_second_packet_before_any_answer_is_still_new",
                    "tracking::an_error_about_a_flow_is_related",
                    "tracking::what_no_connection_can_send_is_invalid",
                    "tracking::translated_flows_match_the_states_snat_and_dnat",
                ],
                further: &[
                    "differential/main.rs::linux_and_rutter_agree_on_generated_rule_sets",
                ],
            },
            Row {
                number: 34,
                requirement: "Table full: expired, half-open, least assured; established flows stay; refusals are counted",
                proof: &[
                    "tracking::expired_flows_go_before_living_ones",
                    "tracking::half_open_flows_give_way_to_new_ones",
                    "tracking::established_flows_survive_a_flood_of_new_ones",
                    "tracking::a_table_full_of_established_flows_refuses_new_ones_and_counts_them",
                    "overload::a_flood_passes_at_the_rate_and_a_connection_loses_nothing",
                    "overload::a_connection_opens_and_closes_beside_a_flood",
                ],
                further: &[
                    "abuse/full.rs::a_full_table_keeps_its_flows",
                ],
            },
            Row {
                number: 35,
                requirement: "A settable limit on the flows of one source (`nf_conntrack_max_per_source`); keyed hash, fixed memory; refusals are counted",
                proof: &[
                    "source_limit::one_source_has_no_more_flows_than_the_limit_and_others_are_not_touched",
                    "source_limit::the_flows_of_a_source_at_its_limit_go_on",
                    "source_limit::a_flow_that_ends_makes_room_for_another",
                    "source_limit::flows_that_began_before_the_limit_count",
                    "source_limit::a_flood_from_random_sources_does_not_lift_the_limit",
                    "source_limit::explain_tells_of_the_limit",
                ],
                further: &[
                    "netstack/src/table/sources.rs::a_flood_from_random_sources_displaces_nobody_who_has_much",
                    "netstack/src/table/sources.rs::no_count_is_ever_too_high",
                ],
            },
            Row {
                number: 36,
                requirement: "A rule, route or address change judges old flows again",
                proof: &[
                    "firewall::a_new_rule_stops_an_old_flow_at_its_next_packet",
                    "firewall::a_new_policy_stops_an_old_flow_at_its_next_packet",
                    "firewall::a_new_route_moves_an_old_flow_at_its_next_packet",
                    "firewall::a_changed_neighbour_is_used_at_the_next_packet",
                    "firewall::forwarding_switched_off_stops_an_old_flow",
                    "policy::a_new_rule_moves_a_flow_from_its_fast_path_at_its_next_packet",
                    "policy::a_mark_that_the_flow_is_given_later_moves_it",
                ],
                further: &[],
            },
            Row {
                number: 37,
                requirement: "A rule set is replaced atomically; the policy holds before the first packet",
                proof: &[
                    "firewall::a_rule_set_is_taken_whole_or_not_at_all",
                    "firewall::the_policy_holds_before_the_first_packet",
                ],
                further: &[
                    "vm/configuration.rs::the_configuration_stands_before_the_first_frame",
                ],
            },
            Row {
                number: 38,
                requirement: "Rule and policy counters in packets and bytes; LOG is rate-limited and does not hold packets up",
                proof: &[
                    "firewall::a_flood_of_packets_to_be_logged_writes_few_lines",
                ],
                further: &[
                    "netstack/src/table/path.rs::one_way_has_one_id_and_its_counts_reach_all_of_its_rules",
                    "differential/main.rs::linux_and_rutter_agree_on_generated_rule_sets",
                ],
            },
        ],
    },
    Section {
        title: "Path MTU",
        rows: &[
            Row {
                number: 39,
                requirement: "MSS clamping only lowers, on SYN and SYN-ACK, checksum mended",
                proof: &[
                    "mss::a_syn_is_clamped_to_the_smaller_mtu_of_both_ways_and_never_raised",
                    "mss::an_answer_to_a_syn_is_clamped_too",
                    "mss::a_size_is_set_in_every_table_and_the_least_one_counts",
                    "mss::what_follows_the_handshake_takes_the_fast_path",
                ],
                further: &[
                    "netstack/src/stage/mss.rs::a_checksum_that_came_wrong_leaves_wrong",
                ],
            },
            Row {
                number: 40,
                requirement: "ICMP 3/4 passes the translation to the host that sent the packet, from both sides",
                proof: &[
                    "nat_pmtu::a_router_outside_reports_its_mtu_to_the_inner_sender",
                    "nat_pmtu::a_router_inside_reports_its_mtu_to_the_outer_sender",
                    "nat_pmtu::our_own_report_reaches_the_inner_sender_about_what_it_sent",
                    "nat_pmtu::our_own_report_reaches_the_outer_sender_about_what_it_sent",
                    "nat_pmtu::a_report_about_a_forwarded_port_reaches_the_client_and_the_server",
                    "nat_pmtu::a_report_through_a_hairpin_reaches_the_other_inner_host",
                    "offload::segments_that_are_too_long_for_the_way_are_reported",
                ],
                further: &[],
            },
        ],
    },
];
