#!/bin/sh
# Called by the agent once /var/vcap/data is there: logs are looked at every 15 minutes, each VM at its own minute.
minute=$(($(hostname | cksum | cut -d' ' -f1) % 15))
echo "$minute,$((minute + 15)),$((minute + 30)),$((minute + 45)) * * * * root /usr/sbin/logrotate /etc/logrotate.d/vcap" \
  >/etc/cron.d/vcap-logrotate
