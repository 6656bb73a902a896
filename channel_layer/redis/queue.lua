-- What the scripts that put frames on a queue have in common; stands in front of each of them, see scripts.py.

-- Take from the front of a queue that is ``over`` its capacity what takes no room: what has expired, and what is none
-- of ours. The oldest stand in front. Returns how much it is over then.
local function make_room(queue, over, ms)
    while over > 0 do
        local oldest = redis.call('LINDEX', queue, 0)
        if not oldest or (#oldest >= 8 and struct.unpack('>d', oldest) > ms) then
            break
        end
        redis.call('LPOP', queue)
        over = over - 1
    end
    return math.max(0, over)
end

-- Count what was sent and what found no room in a hash of statistics, at the server's time.
local function account(statistics, sent, full, now)
    if sent > 0 and redis.call('HINCRBY', statistics, 'sent', sent) == sent then
        redis.call('HSETNX', statistics, 'since', now[1])
    end
    if full > 0 then
        redis.call('HINCRBY', statistics, 'full', full)
    end
end

-- Let a queue live for at least so many milliseconds more. Others may have stored there for longer: a lifetime is only
-- ever prolonged. Redis takes no lifetime at all, which a new key has, for an endless one.
local function keep(queue, is_new, ms)
    if is_new then
        redis.call('PEXPIRE', queue, ms)
    else
        redis.call('PEXPIRE', queue, ms, 'GT')
    end
end

