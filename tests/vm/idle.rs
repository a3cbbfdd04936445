//! What the router costs its host when nothing happens, and how it wakes.

use qemu::lab::{Lab, Plan};
use std::time::Duration;
use tests::network::LAN_SIDE;

#[test]
fn an_idle_router_leaves_the_processor_alone() {
    const TIME: Duration = Duration::from_secs(4);
    let mut lab = Lab::boot(Plan::new("idle")).unwrap();
    // What booting left behind has passed.
    lab.run_for(Duration::from_secs(1)).unwrap();
    let before = lab.cpu_time().unwrap();
    lab.run_for(TIME).unwrap();
    let share = (lab.cpu_time().unwrap() - before).as_secs_f64() / TIME.as_secs_f64();
    assert!(share < 0.03, "{:.1} % of a processor", share * 100.0);
    lab.finish();
}

#[test]
fn a_packet_wakes_the_router() {
    let mut lab = Lab::boot(Plan::new("wake")).unwrap();
    let laptop = lab.host(0, "laptop", &["192.168.1.10/24"], None);
    lab.ping(laptop, LAN_SIDE).unwrap();
    let mut times: Vec<_> = (0..9)
        .map(|_| {
            lab.run_for(Duration::from_millis(50)).unwrap();
            lab.ping(laptop, LAN_SIDE).unwrap()
        })
        .collect();
    times.sort();
    // A router that only looked at its cards on a timer's tick would take the tick's time.
    assert!(times[4] < Duration::from_millis(5), "{times:?}");
    lab.finish();
}
